// The process's side of the loop device: starts the helper (fuse/loop_helper.hpp), tells it what the volume
// has become, one command at a time, and puts questions to it. Nothing here waits.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/volume.hpp"
#include "exports/fuse/loop_helper.hpp"
#include "exports/log.hpp"
#include "runtime/fd.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports::fuse {

class LoopDevice {
  public:
    using Settled = std::function<void(Status)>;
    using Unused = std::function<void(std::string who)>;

    LoopDevice(runtime::Loop& loop, engine::Volume& volume, Log log);
    ~LoopDevice();  // not started, or detached
    LoopDevice(const LoopDevice&) = delete;
    LoopDevice& operator=(const LoopDevice&) = delete;

    // The FUSE file must be served from now on.
    Status start(const std::string& file_path, const std::string& device_path);
    void volume_changed() { go_on_soon(); }
    void when_settled(Settled done);
    void check_unused(Unused done);
    void detach(std::function<void()> done);

  private:
    enum class State : uint8_t {
        absent,     // not started, failed, or detached
        attaching,  // the helper has not yet said whether it could
        idle,
        asked,  // a command is unanswered
    };
    enum class Asked : uint8_t { nothing, size, role, check, detach };
    static constexpr uint64_t restart_ms = 1000;

    Status spawn();
    void restart();
    void received(int result);
    void take_message(std::string_view message);
    void answered(std::string_view message);
    void helper_gone();
    void reaped(int result);
    void bury();
    void go_on();
    void go_on_soon() { loop_.next_turn(go_on_); }
    void ask(Asked what, std::string_view command);
    void sent(int result);
    void settle(const Status& status);
    void answer_checks(std::string_view who);
    void log(engine::LogLevel level, std::string_view text) const;

    runtime::Loop& loop_;
    engine::Volume& volume_;
    Log log_;
    std::string file_path_;
    std::string device_path_;

    State state_ = State::absent;
    Asked asked_ = Asked::nothing;
    bool was_attached_ = false;
    bool helper_gone_ = false;
    bool detaching_ = false;
    Error failure_{"it was not started"};  // why it is absent
    runtime::Fd channel_;
    runtime::Fd pidfd_;

    // What the device shows, and what was last asked for.
    uint64_t shown_sectors_ = 0;
    uint64_t asked_sectors_ = 0;
    bool size_known_ = false;
    bool shown_writable_ = false;
    bool asked_writable_ = false;

    std::vector<Settled> settled_;
    std::vector<Unused> unused_;
    size_t unused_asked_ = 0;  // of the first ones, now with the helper
    std::function<void()> detached_;

    char message_[loop_message_bytes_max];
    runtime::On<&LoopDevice::received> receive_{loop_, *this};
    runtime::On<&LoopDevice::sent> send_{loop_, *this};
    runtime::On<&LoopDevice::reaped> reap_{loop_, *this};
    runtime::CallLater<&LoopDevice::go_on> go_on_{*this};
    runtime::CallAfter<&LoopDevice::restart> restart_{*this};
};

}  // namespace duplex::exports::fuse
