#include "exports/nbd/server.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fmt/format.h>

#include "exports/directory.hpp"
#include "exports/nbd/connection.hpp"

namespace duplex::exports::nbd {

namespace {

constexpr int backlog = 128;
constexpr uint64_t accept_pause_ms = 100;  // when there is no descriptor or memory for a client

Status remove_stale_socket(const std::string& path) {
    struct stat found {};
    if (lstat(path.c_str(), &found) != 0) return Ok{};
    if (!S_ISSOCK(found.st_mode)) return error("{} is in the way: it is not a socket", path);
    if (unlink(path.c_str()) != 0) return error("unlink {}: {}", path, strerrordesc_np(errno));
    return Ok{};
}

}  // namespace

Server::Server(runtime::Loop& loop, engine::Volume& volume, std::string_view resource, Log log)
    : loop_(loop),
      volume_(volume),
      name_(fmt::format("{}/{}", resource, volume.number())),
      device_name_(fmt::format("drbd{}", volume.minor())),
      description_(
          fmt::format("DRBD resource {} volume {}, minor {}", resource, volume.number(), volume.minor())),
      log_(std::move(log)) {}

Server::~Server() {
    ensure(connections_.empty() && !accept_.busy() && !room_awaited_);
    loop_.cancel(stopped_soon_);
    loop_.cancel(accept_later_);
}

Status Server::start(const std::string& socket_path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_path.size() >= sizeof address.sun_path)
        return error("{}: longer than a Unix socket's path can be ({} bytes)", socket_path,
                     sizeof address.sun_path - 1);
    std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
    if (Status made = make_directory_of(socket_path); !made) return made;
    if (Status removed = remove_stale_socket(socket_path); !removed) return removed;

    runtime::Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener) return error("NBD socket {}: {}", socket_path, strerrordesc_np(errno));
    // The mode must be right from the first moment: bind() creates the file.
    const mode_t mask = umask(0177);
    const bool bound = bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    umask(mask);
    if (!bound) return error("bind {}: {}", socket_path, strerrordesc_np(errno));
    socket_path_ = socket_path;
    listener_ = std::move(listener);
    if (listen(listener_.get(), backlog) != 0)
        return error("listen on {}: {}", socket_path, strerrordesc_np(errno));
    accept_next();
    return Ok{};
}

void Server::stop(std::function<void()> done) {
    ensure(!stopping_);
    stopping_ = true;
    stopped_ = std::move(done);
    if (!socket_path_.empty()) unlink(socket_path_.c_str());
    loop_.cancel(accept_later_);
    accept_.cancel();
    for (Connection& connection : connections_) connection.finish();
    loop_.next_turn(stopped_soon_);
}

void Server::report_stopped() {
    if (!connections_.empty() || accept_.busy() || room_awaited_ || !stopped_) return;
    listener_.close();
    std::exchange(stopped_, nullptr)();
}

engine::Request* Server::take_request(engine::Op op, Sector sector, uint32_t size_bytes) {
    engine::Request* request = volume_.take_request(op, sector, size_bytes, *this);
    if (request == nullptr) room_awaited_ = true;
    return request;
}

void Server::completed(engine::Request& request) {
    Call& call = *static_cast<Call*>(request.user_data);
    ensure(call.request == &request);
    call.owner->completed(call);
}

void Server::room() {
    room_awaited_ = false;
    for (Connection& connection : connections_) connection.room();
    if (stopping_) loop_.next_turn(stopped_soon_);
}

bool Server::has_name(std::string_view name) const {
    return name.empty() || name == name_ || name == device_name_;
}

void Server::accept_next() {
    accept_.accept(listener_.get());
}

void Server::accepted(int result) {
    if (stopping_) {
        if (result >= 0) runtime::Fd(result).close();
        loop_.next_turn(stopped_soon_);
        return;
    }
    if (result < 0 && result != -ECONNABORTED) {
        log(engine::LogLevel::warning, fmt::format("accept: {}", strerrordesc_np(-result)));
        loop_.arm(accept_later_, accept_pause_ms);
        return;
    }
    if (result >= 0) {
        runtime::Fd fd(result);
        if (connections_.size() >= connections_max) {
            log(engine::LogLevel::warning,
                fmt::format("more than {} clients; connection closed", connections_max));
        } else {
            auto* connection = new Connection(*this, loop_, volume_, std::move(fd));
            connections_.push_back(*connection);
            connection->start();
        }
    }
    accept_next();
}

void Server::gone(Connection& connection) {
    connections_.remove(connection);
    delete &connection;
    if (stopping_) loop_.next_turn(stopped_soon_);
}

void Server::log(engine::LogLevel level, std::string_view text) const {
    log_(level, fmt::format("block {}: nbd: {}", device_name_, text));
}

}  // namespace duplex::exports::nbd
