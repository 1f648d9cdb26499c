#include "exports/fuse/loop_device.hpp"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "runtime/spawn.hpp"

namespace duplex::exports::fuse {

namespace {

constexpr std::string_view failed_word = "failed ";

std::string_view reason_of(std::string_view message) {
    return message.starts_with(failed_word) ? message.substr(failed_word.size()) : message;
}

}  // namespace

LoopDevice::LoopDevice(runtime::Loop& loop, engine::Volume& volume, Log log)
    : loop_(loop), volume_(volume), log_(std::move(log)) {}

LoopDevice::~LoopDevice() {
    ensure(state_ == State::absent && !receive_.busy() && !send_.busy() && !reap_.busy());
    loop_.cancel(go_on_);
    loop_.cancel(restart_);
}

Status LoopDevice::start(const std::string& file_path, const std::string& device_path) {
    file_path_ = file_path;
    device_path_ = device_path;
    Status spawned = spawn();
    if (!spawned) failure_ = spawned.error();
    return spawned;
}

Status LoopDevice::spawn() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error("channel to the loop device's helper: {}", strerrordesc_np(errno));
    channel_ = runtime::Fd(ends[0]);
    const runtime::Fd theirs(ends[1]);

    std::string self = "/proc/self/exe", option = loop_helper_argument;
    char* arguments[] = {self.data(), option.data(), file_path_.data(), device_path_.data(), nullptr};
    runtime::SpawnSettings settings;
    posix_spawn_file_actions_adddup2(&settings.files, theirs.get(), loop_helper_channel);
    pid_t pid = -1;
    const int code =
        posix_spawn(&pid, self.c_str(), &settings.files, &settings.attributes, arguments, environ);
    if (code != 0) return error("cannot start the loop device's helper: {}", strerrordesc_np(code));
    pidfd_ = runtime::Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd_) return error("cannot watch the loop device's helper: {}", strerrordesc_np(errno));

    helper_gone_ = false;
    size_known_ = false;
    shown_writable_ = false;  // the helper attaches it read-only
    state_ = State::attaching;
    receive_.recv(channel_.get(), {reinterpret_cast<uint8_t*>(message_), sizeof message_});
    reap_.poll(pidfd_.get(), POLLIN);
    return Ok{};
}

void LoopDevice::restart() {
    if (Status spawned = spawn(); !spawned) {
        failure_ = spawned.error();
        log(engine::LogLevel::error, failure_.text);
    }
}

void LoopDevice::when_settled(Settled done) {
    settled_.push_back(std::move(done));
    go_on_soon();
}

void LoopDevice::check_unused(Unused done) {
    unused_.push_back(std::move(done));
    go_on_soon();
}

void LoopDevice::detach(std::function<void()> done) {
    ensure(!detaching_);
    detaching_ = true;
    detached_ = std::move(done);
    go_on_soon();
}

// The next thing to do, if the helper is free to do it.
void LoopDevice::go_on() {
    if (state_ == State::absent && (detaching_ || !restart_.armed())) {
        settle(failure_);
        answer_checks("");
    }
    if (state_ == State::absent && detaching_ && !receive_.busy() && !reap_.busy() && !send_.busy()) {
        loop_.cancel(restart_);
        if (detached_) std::exchange(detached_, nullptr)();
        return;
    }
    if (state_ != State::idle || send_.busy()) return;
    asked_sectors_ = volume_.size_sectors();
    asked_writable_ = volume_.is_primary();
    if (detaching_) {
        ask(Asked::detach, "detach");
    } else if (!size_known_ || shown_sectors_ != asked_sectors_) {
        ask(Asked::size, "size");
    } else if (shown_writable_ != asked_writable_) {
        ask(Asked::role, asked_writable_ ? "writable" : "readonly");
    } else {
        settle(Ok{});
        unused_asked_ = unused_.size();
        if (unused_asked_ > 0) ask(Asked::check, "check");
    }
}

void LoopDevice::ask(Asked what, std::string_view command) {
    state_ = State::asked;
    asked_ = what;
    // Commands are literals: they stay until they are sent.
    send_.send(channel_.get(), {reinterpret_cast<const uint8_t*>(command.data()), command.size()});
}

void LoopDevice::sent(int) {
    bury();  // a failure shows as the end of the channel
    go_on_soon();
}

void LoopDevice::received(int result) {
    if (result <= 0) {
        helper_gone();
        return;
    }
    take_message({message_, static_cast<size_t>(result)});
    receive_.recv(channel_.get(), {reinterpret_cast<uint8_t*>(message_), sizeof message_});
}

void LoopDevice::take_message(std::string_view message) {
    constexpr std::string_view log_word = "log ";
    if (message.starts_with(log_word)) {
        log(engine::LogLevel::warning, message.substr(log_word.size()));
        return;
    }
    if (state_ == State::attaching) {
        was_attached_ = message == "done";
        if (was_attached_) {
            state_ = State::idle;
        } else {
            failure_ = error("{}: {}", device_path_, reason_of(message));
        }
    } else if (state_ == State::asked) {
        state_ = State::idle;
        answered(message);
    }
    go_on_soon();
}

void LoopDevice::answered(std::string_view message) {
    const bool failed = message.starts_with(failed_word);
    if (failed) {
        const Error failure = error("{}: {}", device_path_, reason_of(message));
        log(engine::LogLevel::error, failure.text);
        settle(failure);
    }
    constexpr std::string_view used_word = "used ";
    switch (std::exchange(asked_, Asked::nothing)) {
        case Asked::size:
            size_known_ = true;
            shown_sectors_ = asked_sectors_;
            break;
        case Asked::role:
            shown_writable_ = asked_writable_;
            break;
        case Asked::check:
            if (failed) {
                answer_checks(reason_of(message));
            } else {
                answer_checks(message.starts_with(used_word) ? message.substr(used_word.size()) : "");
            }
            break;
        case Asked::detach:
            was_attached_ = false;
            break;
        case Asked::nothing:
            break;
    }
}

void LoopDevice::helper_gone() {
    helper_gone_ = true;
    if (state_ == State::asked) answer_checks("its helper process ended while it looked for users");
    if (was_attached_ && !detaching_)
        failure_ = error("{}: the helper process that holds its loop device ended", device_path_);
    bury();
}

void LoopDevice::reaped(int) {
    siginfo_t info{};
    waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED);
    pidfd_.close();
    bury();
}

// Once the kernel holds nothing of the ended helper's any more.
void LoopDevice::bury() {
    if (!helper_gone_ || reap_.busy() || send_.busy() || state_ == State::absent) return;
    channel_.close();
    state_ = State::absent;
    if (!detaching_) log(engine::LogLevel::error, failure_.text);
    // Users who have it open keep the old loop device, which still works; new ones find a new one.
    if (std::exchange(was_attached_, false) && !detaching_) loop_.arm(restart_, restart_ms);
    go_on_soon();
}

void LoopDevice::settle(const Status& status) {
    const std::vector<Settled> waiting = std::exchange(settled_, {});
    for (const Settled& done : waiting) done(status);
}

void LoopDevice::answer_checks(std::string_view who) {
    const size_t count = state_ == State::absent ? unused_.size() : std::exchange(unused_asked_, 0);
    const std::vector<Unused> answered(unused_.begin(), unused_.begin() + static_cast<ptrdiff_t>(count));
    unused_.erase(unused_.begin(), unused_.begin() + static_cast<ptrdiff_t>(count));
    for (const Unused& done : answered) done(std::string(who));
}

void LoopDevice::log(engine::LogLevel level, std::string_view text) const {
    log_(level, fmt::format("block drbd{}: {}", volume_.minor(), text));
}

}  // namespace duplex::exports::fuse
