#include "control/server.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include "control/reply_text.hpp"

namespace duplex::control {
namespace {

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

// A process that listens accepts the connection; a socket whose process has died refuses it.
bool is_alive(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return true;
    const sockaddr_un address = address_of(path);
    const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    const bool refused = result != 0 && (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    return !refused;
}

// Held while a dead process's socket is replaced, so that of two processes started at once one fails instead
// of taking the other's socket away.
class DirectoryLock {
  public:
    explicit DirectoryLock(const std::string& path)
        : fd_(::open(path.substr(0, path.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        if (fd_ >= 0) flock(fd_, LOCK_EX);
    }
    ~DirectoryLock() {
        if (fd_ >= 0) close(fd_);
    }
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

  private:
    int fd_;
};

int64_t now_us() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

}  // namespace

struct Server::Client {
    Client(uint64_t client_id, int client_fd) : id(client_id), fd(client_fd) {}
    ~Client() { close(fd); }

    const uint64_t id;
    const int fd;
    std::string in;
    std::string out;
    bool executing = false;  // a request whose answer is due
    bool closing = false;    // to be closed once everything is sent
    bool gone = false;       // no use any more; dropped when it is safe
    bool subscribed = false;
    bool status_due = false;  // the latest status was left out
    uint64_t skipped = 0;
};

Server::Server(std::string path, Service& service) : path_(std::move(path)), service_(service) {}

Result<std::unique_ptr<Server>> Server::listen(const std::string& path, Service& service) {
    std::unique_ptr<Server> server(new Server(path, service));
    if (Status opened = server->open(); !opened) return opened.error();
    return server;
}

Status Server::open() {
    if (path_.size() + 4 >= sizeof(sockaddr_un::sun_path)) return error("socket path {} is too long", path_);
    const DirectoryLock lock(path_);
    if (is_alive(path_)) return error("a process already listens on {}", path_);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return error("cannot create a socket: {}", std::strerror(errno));
    // It gets its name once it listens: nobody finds it in between and takes its process for dead.
    const std::string fresh = path_ + ".new";
    const sockaddr_un address = address_of(fresh);
    unlink(fresh.c_str());
    const mode_t mask = umask(0177);
    const int bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    umask(mask);
    if (bound != 0 || ::listen(fd, 16) != 0 || rename(fresh.c_str(), path_.c_str()) != 0) {
        const int reason = errno;
        close(fd);
        unlink(fresh.c_str());
        return error("cannot listen on {}: {}", path_, std::strerror(reason));
    }
    listener_ = fd;
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
    if (epoll_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) != 0) {
        return error("cannot watch {}: {}", path_, std::strerror(errno));
    }
    return Ok{};
}

Server::~Server() {
    *self_ = nullptr;
    stop_listening();
    clients_.clear();
    if (epoll_ >= 0) close(epoll_);
}

void Server::stop_listening() {
    if (listener_ < 0) return;
    unlink(path_.c_str());
    close(std::exchange(listener_, -1));
}

void Server::serve() {
    std::array<epoll_event, 32> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<size_t>(i)];
        if (event.data.u64 == 0) {
            accept_clients();
        } else {
            client_ready(event.data.u64, event.events);
        }
    }
}

void Server::accept_clients() {
    while (listener_ >= 0) {
        const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        const uint64_t id = next_id_++;
        Client& client = *(clients_[id] = std::make_unique<Client>(id, fd));
        epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
            drop(id);
            continue;
        }
        if (clients_.size() > clients_max) refuse(client, "too many tools are talking to this resource");
        if (client.gone) drop(id);
    }
}

void Server::client_ready(uint64_t id, uint32_t events) {
    const auto found = clients_.find(id);
    if (found == clients_.end()) return;
    Client& client = *found->second;
    if ((events & EPOLLOUT) != 0) flush(client);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !client.gone) client.gone = !read_from(client);
    if (!client.gone) take_lines(client);
    if (client.gone) drop(id);
}

// False when the tool is gone.
bool Server::read_from(Client& client) {
    std::array<char, 16384> bytes;
    for (;;) {
        if (client.closing || client.in.size() > request_bytes_max) return true;
        const ssize_t length = recv(client.fd, bytes.data(), bytes.size(), 0);
        if (length < 0) return errno == EAGAIN || errno == EINTR;
        if (length == 0) return false;
        client.in.append(bytes.data(), static_cast<size_t>(length));
    }
}

void Server::take_lines(Client& client) {
    while (!client.executing && !client.closing && !client.gone) {
        const size_t end = client.in.find('\n');
        if (end == std::string::npos) break;
        const std::string line = client.in.substr(0, end);
        client.in.erase(0, end + 1);
        handle(client, line);
    }
    if (client.in.size() > request_bytes_max && !client.executing && !client.closing) {
        refuse(client, "request too long");
    }
    if (!client.gone) watch(client);
}

void Server::handle(Client& client, std::string_view line) {
    Result<Request> request = decode_request(line);
    if (!request) return refuse(client, request.error().text);
    if (request->command == "status") return send(client, encode_status(service_.status()));
    if (request->command == "events") {
        client.subscribed = true;
        return send_status_event(client);
    }
    client.executing = true;
    service_.execute(*request, [self = self_, id = client.id](const engine::Reply& reply) {
        if (*self != nullptr) (*self)->answer(id, reply);
    });
}

void Server::answer(uint64_t id, const engine::Reply& reply) {
    const auto found = clients_.find(id);
    if (found == clients_.end()) return;
    Client& client = *found->second;
    client.executing = false;
    send(client, encode(reply));
    // What the tool sent meanwhile is taken by the next serve(): this call may come from inside take_lines().
    if (!client.gone && client.in.find('\n') != std::string::npos) {
        epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.u64 = id}};
        epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
    }
}

void Server::refuse(Client& client, std::string_view why) {
    client.closing = true;
    send(client, encode(engine::Reply{error_code::invalid_request, std::string(why)}));
}

void Server::state_changed() {
    for (auto& [id, client] : clients_) {
        if (client->subscribed && !client->gone) send_status_event(*client);
    }
}

void Server::helper_event(std::string_view helper, int minor, std::optional<int> wait_status) {
    const std::string line = encode(Event{HelperEvent{now_us(), std::string(helper), minor, wait_status}});
    for (auto& [id, client] : clients_) {
        if (!client->subscribed || client->gone) continue;
        if (client->out.size() + line.size() > backlog_bytes_max) {
            ++client->skipped;
        } else {
            send(*client, line);
        }
    }
}

// A subscriber that lags behind gets the latest status when it has caught up, not all of those between.
void Server::send_status_event(Client& client) {
    if (client.out.size() > backlog_bytes_max) {
        if (client.status_due) ++client.skipped;
        client.status_due = true;
        return;
    }
    std::string lines;
    if (client.skipped > 0) lines = encode(Event{SkippedEvents{std::exchange(client.skipped, 0)}});
    client.status_due = false;
    send(client, lines + encode(Event{StatusEvent{now_us(), service_.status()}}));
}

void Server::send(Client& client, const std::string& line) {
    client.out += line;
    flush(client);
}

void Server::flush(Client& client) {
    size_t sent = 0;
    while (sent < client.out.size()) {
        const ssize_t length =
            ::send(client.fd, client.out.data() + sent, client.out.size() - sent, MSG_NOSIGNAL);
        if (length < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) client.gone = true;
            break;
        }
        sent += static_cast<size_t>(length);
    }
    client.out.erase(0, sent);
    if (client.gone) {
        // Not under the feet of a caller that goes through the clients: serve() finds the hang-up and drops
        // it.
        shutdown(client.fd, SHUT_RDWR);
        return;
    }
    if (client.out.empty() && client.status_due) return send_status_event(client);
    if (client.out.empty() && client.closing) {
        client.gone = true;
        shutdown(client.fd, SHUT_RDWR);
        return;
    }
    watch(client);
}

void Server::watch(Client& client) const {
    const bool wants_input = !client.closing && client.in.size() <= request_bytes_max;
    epoll_event event{.events = (wants_input ? EPOLLIN : 0u) | (client.out.empty() ? 0u : EPOLLOUT),
                      .data = {.u64 = client.id}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
}

void Server::drop(uint64_t id) {
    clients_.erase(id);
}

}  // namespace duplex::control
