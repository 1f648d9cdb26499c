// The runtime's host, with the start and the end of every helper program told to who listens for events.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace duplex::duplexd {

class ReportingHost final : public engine::Host {
  public:
    // wait_status: at the end only, as wait(2) gives it.
    using Report = std::function<void(std::string_view helper, int minor, std::optional<int> wait_status)>;

    ReportingHost(engine::Host& host, Report report) : host_(host), report_(std::move(report)) {}

    void log(engine::LogLevel level, std::string_view line) override { host_.log(level, line); }
    uint64_t random64() override { return host_.random64(); }
    void random_bytes(std::span<uint8_t> bytes) override { host_.random_bytes(bytes); }
    Result<engine::Disk*> open_disk(const std::string& path, std::optional<uint32_t> slot) override {
        return host_.open_disk(path, slot);
    }
    void close_disk(engine::Disk& disk) override { host_.close_disk(disk); }
    void changed(int volume) override { host_.changed(volume); }

    void run_handler(std::string_view name, int minor, std::function<void(int exit_code)> done) override {
        report_(name, minor, std::nullopt);
        host_.run_handler(name, minor,
                          [this, name = std::string(name), minor, done = std::move(done)](int exit_code) {
                              report_(name, minor, wait_status_of(exit_code));
                              done(exit_code);
                          });
    }

  private:
    // The runtime gives 128 + n for a program that signal n ended.
    static int wait_status_of(int exit_code) { return exit_code > 128 ? exit_code - 128 : exit_code << 8; }

    engine::Host& host_;
    Report report_;
};

}  // namespace duplex::duplexd
