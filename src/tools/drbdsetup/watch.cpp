#include "tools/drbdsetup/watch.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace duplex::drbdsetup {

Result<Watch> Watch::open(const control::RunDir& run_dir, std::string only) {
    // It may be the first to be here.
    if (Status made = run_dir.make(); !made) return made.error();
    const int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (inotify < 0) return error("cannot watch {}: {}", run_dir.path(), std::strerror(errno));
    Watch watch(run_dir, std::move(only), inotify);
    // A process's socket gets its name when it listens (control/server.cpp).
    if (inotify_add_watch(inotify, run_dir.path().c_str(), IN_MOVED_TO | IN_CREATE) < 0) {
        return error("cannot watch {}: {}", run_dir.path(), std::strerror(errno));
    }
    return watch;
}

Watch::Watch(Watch&& other) noexcept
    : run_dir_(other.run_dir_),
      only_(other.only_),
      inotify_(std::exchange(other.inotify_, -1)),
      followed_(std::move(other.followed_)) {}

Watch::~Watch() {
    if (inotify_ >= 0) close(inotify_);
}

void Watch::find_new() {
    for (const std::string& name : run_dir_.resources()) {
        if (followed_.contains(name) || (!only_.empty() && name != only_)) continue;
        control::ConnectFailure failure;
        std::optional<control::Client> client = control::Client::connect(run_dir_, name, failure);
        if (client && client->subscribe().ok()) {
            followed_.emplace(name, Followed{std::move(*client)});
        } else if (!client && failure.absence == control::Absence::refused) {
            fmt::print(stderr, "{}\n", failure.text);
        }
    }
}

bool Watch::pass_on(const std::string& name, Followed& followed, Sink& sink, bool only_first) {
    if (!followed.client.has_event())
        followed.ended = followed.client.read_some() == control::Client::Progress::failed;
    bool any = false;
    while (followed.client.has_event()) {
        const Result<std::optional<control::Event>> event = followed.client.next_event();
        if (!event) {
            fmt::print(stderr, "{}\n", event.error().text);
            followed.ended = true;
            break;
        }
        sink.event(name, **event);
        any = true;
        if (only_first) break;
    }
    return any;
}

void Watch::drop_ended(Sink& sink) {
    for (auto at = followed_.begin(); at != followed_.end();) {
        if (!at->second.ended) {
            ++at;
            continue;
        }
        sink.gone(at->first);
        at = followed_.erase(at);
    }
}

void Watch::take_initial(Sink& sink, int timeout_ms) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    find_new();
    // One after the other in the order of their names; meanwhile the others' answers wait in their sockets.
    for (auto& [name, followed] : followed_) {
        while (!pass_on(name, followed, sink, true) && !followed.ended) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
            pollfd waiting{followed.client.fd(), POLLIN, 0};
            if (poll(&waiting, 1, static_cast<int>(std::max<int64_t>(left, 0))) != 0) continue;
            fmt::print(stderr, "the process of resource {} does not answer\n", name);
            followed.ended = true;
        }
    }
    drop_ended(sink);
}

void Watch::read_directory_changes() const {
    alignas(inotify_event) std::array<char, 4096> bytes;
    while (read(inotify_, bytes.data(), bytes.size()) > 0) {
    }
}

void Watch::follow(Sink& sink) {
    std::vector<pollfd> waiting;
    for (;;) {
        find_new();
        for (auto& [name, followed] : followed_) pass_on(name, followed, sink, false);
        // A new process may have taken the place of one that ended: looked for before there is anything to
        // wait for.
        const size_t count = followed_.size();
        drop_ended(sink);
        if (followed_.size() != count) continue;
        waiting.clear();
        waiting.push_back({STDOUT_FILENO, 0, 0});  // POLLERR when its reader goes
        waiting.push_back({inotify_, POLLIN, 0});
        for (const auto& [name, followed] : followed_) waiting.push_back({followed.client.fd(), POLLIN, 0});
        if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
        if ((waiting[0].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return;
        if (waiting[1].revents != 0) read_directory_changes();
    }
}

}  // namespace duplex::drbdsetup
