#include "runtime/network.hpp"

#include <cerrno>
#include <cstring>
#include <netinet/tcp.h>

#include "base/ensure.hpp"
#include "runtime/log.hpp"

namespace duplex::runtime {

namespace {

constexpr uint64_t accept_pause_ms = 1000;
constexpr uint64_t refusal_log_interval_ms = 1000;

void set_option(const Fd& fd, int level, int option, int value) {
    // Only tuning: a kernel that refuses still gives a working connection.
    (void)setsockopt(fd.get(), level, option, &value, sizeof value);
}

// The kernel doubles what user space asks for and clips it at the system's limit, which the privileged form
// does not (wire protocol 2.2).
void set_buffer(const Fd& fd, int privileged, int plain, uint32_t bytes) {
    if (bytes == 0) return;
    const int value = static_cast<int>(bytes / 2);
    if (setsockopt(fd.get(), SOL_SOCKET, privileged, &value, sizeof value) != 0)
        set_option(fd, SOL_SOCKET, plain, value);
}

// A TCP socket bound to the address. The priorities of wire protocol 2.2 are left out: which of the pair a
// socket will be is not known here.
Result<Fd> bound_socket(const SocketAddress& address, const engine::SocketLimits& limits) {
    Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return error("cannot create a TCP socket for {}: {}", to_text(address), strerror(errno));
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (address.family() == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, limits.sndbuf_bytes);
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, limits.rcvbuf_bytes);
    if (::bind(fd.get(), address.get(), address.bytes) != 0)
        return error("cannot bind to {}: {}", to_text(address), strerror(errno));
    return fd;
}

}  // namespace

// ---- listening
// ----------------------------------------------------------------------------------------------------------

class Network::Listener {
  public:
    Listener(Network& network, Loop& loop, Fd fd)
        : network_(&network), loop_(&loop), fd_(std::move(fd)), accept_(loop, *this), again_(*this) {
        start();
    }

    // Connections are refused from now on. shutdown(), because the accept in flight keeps the file open.
    void stop() {
        network_ = nullptr;
        ::shutdown(fd_.get(), SHUT_RDWR);
        loop_->cancel(again_);
        if (!accept_.busy())
            delete this;
        else
            accept_.cancel();
    }

  private:
    void start() {
        from_.bytes = sizeof from_.storage;
        accept_.accept(fd_.get(), from_.get(), &from_.bytes);
    }

    void accepted(int result) {
        Fd fd(result);
        if (!network_) {
            delete this;
            return;
        }
        const SocketAddress from = from_;
        if (result >= 0 || result == -ECONNABORTED || result == -EINTR) {
            start();
            if (fd) network_->accept(std::move(fd), from);  // may stop()
            return;
        }
        // Out of descriptors or memory: trying again at once would only spin.
        log_format(engine::LogLevel::error, "{}: accept: {}", network_->name_, strerror(-result));
        loop_->arm(again_, accept_pause_ms);
    }

    Network* network_;  // null: stopped
    Loop* loop_;
    Fd fd_;
    SocketAddress from_;
    On<&Listener::accepted> accept_;
    CallAfter<&Listener::start> again_;
};

Status Network::listen() {
    ensure(!listener_ && events_);
    const Result<SocketAddress> address = parse_address(local_);
    if (!address) return address.error();
    Result<Fd> fd = bound_socket(*address, limits_);
    if (!fd) return fd.error();
    if (::listen(fd->get(), backlog) != 0)
        return error("cannot listen on {}: {}", to_text(*address), strerror(errno));
    listener_ = new Listener(*this, *loop_, std::move(*fd));
    return Ok{};
}

void Network::stop_listening() {
    if (listener_) std::exchange(listener_, nullptr)->stop();
}

void Network::accept(Fd fd, const SocketAddress& from) {
    const Result<SocketAddress> peer = parse_address(peer_);
    if (!peer || !same_host(*peer, from)) return refuse(from, "it is not the configured peer");
    if (sockets_.size() >= sockets_max) return refuse(from, "too many connections are open already");
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    events_->accepted(*new Socket(*loop_, sockets_, std::move(fd), limits_.cork));
}

// A stranger must not be able to fill the log.
void Network::refuse(const SocketAddress& from, std::string_view why) {
    if (loop_->now_ms() < next_refusal_log_ms_) {
        ++refusals_unlogged_;
        return;
    }
    log_format(engine::LogLevel::warning, "{}: connection from {} refused: {}", name_, to_text(from), why);
    if (refusals_unlogged_ > 0)
        log_format(engine::LogLevel::warning, "{}: {} more connections were refused before", name_,
                   refusals_unlogged_);
    refusals_unlogged_ = 0;
    next_refusal_log_ms_ = loop_->now_ms() + refusal_log_interval_ms;
}

// ---- connecting
// ---------------------------------------------------------------------------------------------------------

class Network::Attempt {
  public:
    Attempt(Network& network, Loop& loop, Fd fd, const SocketAddress& to)
        : network_(&network), fd_(std::move(fd)), to_(to), connect_(loop, *this) {
        connect_.connect(fd_.get(), to_.get(), to_.bytes);
    }

    void cancel() {
        network_ = nullptr;
        connect_.cancel();
    }

  private:
    void ended(int result) {
        Network* const network = network_;
        Fd fd = std::move(fd_);
        const SocketAddress to = to_;
        delete this;
        if (!network) return;
        network->attempt_ = nullptr;
        if (result < 0)
            return network->events_->connect_failed(fmt::format("{}: {}", to_text(to), strerror(-result)));
        network->events_->connected(
            *new Socket(*network->loop_, network->sockets_, std::move(fd), network->limits_.cork));
    }

    Network* network_;  // null: cancelled
    Fd fd_;
    SocketAddress to_;
    On<&Attempt::ended> connect_;
};

Status Network::connect() {
    ensure(!attempt_ && events_);
    engine::Endpoint from = local_;
    from.port = 0;
    const Result<SocketAddress> local = parse_address(from);
    if (!local) return local.error();
    const Result<SocketAddress> peer = parse_address(peer_);
    if (!peer) return peer.error();
    Result<Fd> fd = bound_socket(*local, limits_);
    if (!fd) return fd.error();
    attempt_ = new Attempt(*this, *loop_, std::move(*fd), *peer);
    return Ok{};
}

void Network::cancel_connect() {
    if (attempt_) std::exchange(attempt_, nullptr)->cancel();
}

// ---- all of it
// ----------------------------------------------------------------------------------------------------------

Network::Network(Loop& loop, std::string name) : loop_(&loop), name_(std::move(name)) {}

Network::~Network() {
    ensure(!listener_ && !attempt_ && sockets_.empty());
}

void Network::configure(const engine::Endpoint& local, const engine::Endpoint& peer,
                        const engine::SocketLimits& limits, engine::NetworkEvents& events) {
    ensure(!listener_ && !attempt_);
    local_ = local;
    peer_ = peer;
    limits_ = limits;
    events_ = &events;
}

void Network::close_all() {
    stop_listening();
    cancel_connect();
    for (Socket& socket : sockets_) socket.abandon();
}

}  // namespace duplex::runtime
