#include "control/follower.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace duplex::control {

Follower::Follower(RunDir run_dir, std::string only) : run_dir_(std::move(run_dir)), only_(std::move(only)) {
    // Before the first look, so that nothing is missed between the two. A socket gets its name by a rename.
    inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    const bool made = run_dir_.make().ok();  // there may have been no resource yet
    is_watching_ =
        made && inotify_ >= 0 && inotify_add_watch(inotify_, run_dir_.path().c_str(), IN_MOVED_TO) >= 0;
}

Follower::~Follower() {
    if (inotify_ >= 0) close(inotify_);
}

bool Follower::follow(const std::string& resource, std::string& complaint) {
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir_, resource, failure);
    if (!client) {
        if (failure.absence != Absence::none) complaint = failure.text;
        return false;
    }
    if (Status subscribed = client->subscribe(); !subscribed) {
        complaint = subscribed.error().text;
        return false;
    }
    clients_.emplace(resource, std::move(*client));
    return true;
}

std::vector<std::string> Follower::start(std::vector<std::string>& complaints) {
    std::vector<std::string> followed;
    if (!is_watching_) {
        complaints.push_back(
            fmt::format("cannot watch {}: new resources will not be noticed", run_dir_.path()));
    }
    for (const std::string& resource : run_dir_.resources()) {
        if (!only_.empty() && resource != only_) continue;
        std::string complaint;
        if (follow(resource, complaint)) {
            followed.push_back(resource);
        } else if (!complaint.empty()) {
            complaints.push_back(complaint);
        }
    }
    return followed;
}

void Follower::look_for_new_resources() {
    std::array<char, 4096> events;
    while (read(inotify_, events.data(), events.size()) > 0) {
    }
    for (const std::string& resource : run_dir_.resources()) {
        std::string complaint;
        if ((only_.empty() || resource == only_) && !clients_.contains(resource)) follow(resource, complaint);
    }
}

std::optional<Result<Happening>> Follower::from_clients() {
    for (auto& [resource, client] : clients_) {
        const Client::Progress progress =
            client.has_event() ? Client::Progress::complete : client.read_some();
        if (progress == Client::Progress::waiting) continue;
        Happening happening{Happening::Kind::gone, resource, std::nullopt};
        if (progress == Client::Progress::complete) {
            Result<std::optional<Event>> event = client.next_event();
            if (!event) return Result<Happening>(error("resource {}: {}", resource, event.error().text));
            happening.kind = Happening::Kind::event;
            happening.event = std::move(*event);
        } else {
            clients_.erase(happening.resource);
            // Its successor may have been noticed, and passed over, while this one seemed to live.
            look_for_new_resources();
        }
        return Result<Happening>(std::move(happening));
    }
    return std::nullopt;
}

Result<Happening> Follower::next(int timeout_ms) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
        if (auto happening = from_clients()) return std::move(*happening);
        std::vector<pollfd> waiting{{inotify_, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
        for (const auto& [resource, client] : clients_) waiting.push_back({client.fd(), POLLIN, 0});
        int wait_ms = -1;
        if (timeout_ms >= 0) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
            if (left <= 0) return Happening{};
            wait_ms = static_cast<int>(left);
        }
        if (poll(waiting.data(), waiting.size(), wait_ms) < 0 && errno != EINTR) {
            return error("poll: {}", strerrordesc_np(errno));
        }
        if ((waiting[0].revents & POLLIN) != 0) look_for_new_resources();
        if ((waiting[1].revents & (POLLERR | POLLHUP)) != 0) {
            return Happening{Happening::Kind::reader_gone, {}, std::nullopt};
        }
    }
}

}  // namespace duplex::control
