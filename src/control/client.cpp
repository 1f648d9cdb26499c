#include "control/client.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace duplex::control {
namespace {

ConnectFailure failure_of(int reason, const std::string& path, std::string_view resource) {
    if (reason == ENOENT) return {Absence::none, fmt::format("no process serves resource {}", resource)};
    if (reason == ECONNREFUSED) {
        return {
            Absence::dead,
            fmt::format(
                "the process of resource {0} has died: nobody listens on {1}; drbdadm up {0} brings it back",
                resource, path)};
    }
    return {Absence::refused, fmt::format("cannot talk to the process of resource {} on {}: {}", resource,
                                          path, std::strerror(reason))};
}

}  // namespace

std::optional<Client> Client::connect(const RunDir& run_dir, std::string_view resource,
                                      ConnectFailure& failure) {
    const Result<std::string> path = run_dir.socket(resource);
    if (!path) {
        failure = {Absence::refused, path.error().text};
        return std::nullopt;
    }
    // Not blocking while connecting: a process that hangs with a full backlog must not hang its tools.
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        failure = {Absence::refused, fmt::format("cannot create a socket: {}", std::strerror(errno))};
        return std::nullopt;
    }
    Client client(fd, std::string(resource));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path->c_str(), path->size() + 1);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        failure = failure_of(errno, *path, resource);
        return std::nullopt;
    }
    return client;
}

Client::Client(Client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), resource_(std::move(other.resource_)), in_(std::move(other.in_)) {}

Client& Client::operator=(Client&& other) noexcept {
    if (this != &other) {
        if (fd_ >= 0) close(fd_);
        fd_ = std::exchange(other.fd_, -1);
        resource_ = std::move(other.resource_);
        in_ = std::move(other.in_);
    }
    return *this;
}

Client::~Client() {
    if (fd_ >= 0) close(fd_);
}

Result<engine::Reply> Client::execute(const Request& request) {
    if (Status sent = send(encode(request)); !sent) return sent.error();
    const Result<std::string> line = expect_line(no_timeout);
    if (!line) return line.error();
    return decode_reply(*line);
}

Result<engine::ResourceStatus> Client::status(int timeout_ms) {
    if (Status sent = request_status(); !sent) return sent.error();
    const Result<std::string> line = expect_line(timeout_ms);
    if (!line) return line.error();
    return decode_status(*line);
}

Status Client::request_status() {
    return send(encode(Request{.command = "status", .minor = -1, .arguments = {}, .options = {}}));
}

Status Client::subscribe() {
    return send(encode(Request{.command = "events", .minor = -1, .arguments = {}, .options = {}}));
}

Result<std::optional<Event>> Client::next_event() {
    const Result<std::optional<std::string>> line = next_line(no_timeout);
    if (!line) return line.error();
    Result<std::optional<Event>> next = std::optional<Event>();
    if (!*line) return next;
    Result<Event> event = decode_event(**line);
    if (!event) return event.error();
    next->emplace(std::move(*event));
    return next;
}

Client::Progress Client::read_some() {
    std::array<char, 16384> bytes;
    for (;;) {
        const ssize_t length = recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (length > 0) {
            in_.append(bytes.data(), static_cast<size_t>(length));
            if (has_event()) return Progress::complete;
        } else if (length == 0) {
            return Progress::failed;
        } else if (errno != EINTR) {
            return errno == EAGAIN ? Progress::waiting : Progress::failed;
        }
    }
}

Result<engine::ResourceStatus> Client::take_status() {
    const Result<std::string> line = expect_line(0);
    if (!line) return line.error();
    return decode_status(*line);
}

Status Client::send(const std::string& line) {
    size_t sent = 0;
    while (sent < line.size()) {
        const ssize_t length = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (length >= 0) {
            sent += static_cast<size_t>(length);
        } else if (errno == EAGAIN) {
            pollfd waiting{fd_, POLLOUT, 0};
            poll(&waiting, 1, -1);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return Ok{};  // its last words may say why: the reader finds them, or the end
        } else if (errno != EINTR) {
            return error("cannot send to the process of resource {}: {}", resource_, std::strerror(errno));
        }
    }
    return Ok{};
}

Result<std::optional<std::string>> Client::next_line(int timeout_ms) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
        const size_t end = in_.find('\n');
        if (end != std::string::npos) {
            std::string line = in_.substr(0, end);
            in_.erase(0, end + 1);
            return std::optional<std::string>(std::move(line));
        }
        const Progress progress = read_some();
        if (progress == Progress::complete) continue;
        if (progress == Progress::failed) return std::optional<std::string>();
        int wait_ms = -1;
        if (timeout_ms >= 0) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
            if (left <= 0) return error("the process of resource {} does not answer", resource_);
            wait_ms = static_cast<int>(left);
        }
        pollfd waiting{fd_, POLLIN, 0};
        if (poll(&waiting, 1, wait_ms) < 0 && errno != EINTR) {
            return error("cannot wait for the process of resource {}: {}", resource_, std::strerror(errno));
        }
    }
}

Result<std::string> Client::expect_line(int timeout_ms) {
    Result<std::optional<std::string>> line = next_line(timeout_ms);
    if (!line) return line.error();
    if (!*line) return error("the process of resource {} ended before it answered (see its log)", resource_);
    return std::move(**line);
}

}  // namespace duplex::control
