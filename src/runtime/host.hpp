// engine::Host in the process: disks, handlers, randomness, log.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/list.hpp"
#include "engine/ports.hpp"
#include "runtime/disk.hpp"
#include "runtime/handler.hpp"
#include "runtime/loop.hpp"

namespace duplex::runtime {

// What the host asks of the process it lives in.
class HostEvents {
  public:
    // engine::Host::changed(): volume -1 is the resource or its connection. May be called often; only note
    // it.
    virtual void changed(int volume) = 0;
    // The command configured for a handler and its environment (cli 17); an empty command: none configured.
    virtual HandlerCommand handler(std::string_view name, int minor) = 0;

  protected:
    ~HostEvents() = default;
};

class Host final : public engine::Host {
  public:
    Host(Loop& loop, HostEvents& events) : loop_(&loop), events_(&events) {}
    // Every disk must be closed and the loop drained; handlers that still run go on alone and their end is
    // heard by nobody.
    ~Host();

    void log(engine::LogLevel level, std::string_view line) override;
    uint64_t random64() override;
    void random_bytes(std::span<uint8_t> bytes) override;
    Result<engine::Disk*> open_disk(const std::string& path, std::optional<uint32_t> slot) override;
    // Operations in flight still complete; the device is free for others once they have.
    void close_disk(engine::Disk& disk) override;
    // Without a command configured, done gets 0 (cli 17).
    void run_handler(std::string_view name, int minor, std::function<void(int exit_code)> done) override;
    void changed(int volume) override;

    // Reads the sizes of the open disks again, so that their limits() tell of an enlarged logical volume:
    // before Resource::resize().
    void refresh_disk_sizes();
    // Forgets the handlers that run: their `done` is not called any more. Before the loop is drained.
    void abandon_handlers();

  private:
    Loop* loop_;
    HostEvents* events_;
    List<Disk, Disk> disks_;  // the engine's; closed ones are no longer here
    List<Handler, Handler> handlers_;
};

}  // namespace duplex::runtime
