#include "runtime/host.hpp"

#include <cerrno>
#include <sys/random.h>

#include "base/ensure.hpp"
#include "runtime/log.hpp"

namespace duplex::runtime {

namespace {

// run_handler() promises its answer from the loop, also when there is nothing to run.
class ImmediateAnswer final : public Deferred {
  public:
    ImmediateAnswer(std::function<void(int)> done, int exit_code)
        : done_(std::move(done)), exit_code_(exit_code) {}
    void run() override {
        const std::function<void(int)> done = std::move(done_);
        const int exit_code = exit_code_;
        delete this;
        done(exit_code);
    }

  private:
    std::function<void(int)> done_;
    int exit_code_;
};

}  // namespace

Host::~Host() {
    ensure(disks_.empty() && handlers_.empty());
}

void Host::log(engine::LogLevel level, std::string_view line) {
    log_line(level, line);
}

uint64_t Host::random64() {
    uint64_t value = 0;
    random_bytes({reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
}

void Host::random_bytes(std::span<uint8_t> bytes) {
    while (!bytes.empty()) {
        const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
        ensure(got > 0 || errno == EINTR);
        if (got > 0) bytes = bytes.subspan(static_cast<size_t>(got));
    }
}

Result<engine::Disk*> Host::open_disk(const std::string& path, std::optional<uint32_t> slot) {
    const Result<Disk*> disk = Disk::open(*loop_, path, slot);
    if (!disk) return disk.error();
    disks_.push_back(**disk);
    return static_cast<engine::Disk*>(*disk);
}

void Host::close_disk(engine::Disk& disk) {
    auto& ours = static_cast<Disk&>(disk);
    disks_.remove(ours);
    ours.close();
}

void Host::refresh_disk_sizes() {
    for (Disk& disk : disks_)
        if (const Status refreshed = disk.refresh_size(); !refreshed)
            log_format(engine::LogLevel::error, "duplex: {}", refreshed.error().text);
}

void Host::run_handler(std::string_view name, int minor, std::function<void(int exit_code)> done) {
    const HandlerCommand command = events_->handler(name, minor);
    int exit_code = 0;
    if (!command.command.empty()) {
        const Status started = Handler::start(*loop_, handlers_, command, done);
        if (started) return;
        log_format(engine::LogLevel::error, "duplex: handler {}: {}", name, started.error().text);
        exit_code = 127;
    }
    loop_->next_turn(*new ImmediateAnswer(std::move(done), exit_code));
}

void Host::changed(int volume) {
    events_->changed(volume);
}

void Host::abandon_handlers() {
    for (Handler& handler : handlers_) handler.abandon();
}

}  // namespace duplex::runtime
