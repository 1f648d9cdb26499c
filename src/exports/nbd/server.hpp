// The NBD server of one volume: a Unix socket that any number of clients (QEMU, libnbd, nbd-client, fio)
// connect to.
//
// Every connection that has chosen the export is an opener of the volume, named after the process at its
// other end ("qemu-system-x86[1234] via NBD"); while the volume is Secondary clients are refused in the
// handshake, with the reason. Flush on one connection covers the completed writes of all (CAN_MULTI_CONN):
// there is one device.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/list.hpp"
#include "base/result.hpp"
#include "engine/volume.hpp"
#include "exports/log.hpp"
#include "runtime/fd.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports::nbd {

class Connection;

// It is the volume's user for all its connections: the engine remembers who waits for room, and connections
// come and go.
class Server final : public engine::User {
  public:
    static constexpr size_t connections_max = 128;

    // resource: as in drbd.conf; the export is called RESOURCE/VOLUME. Loop and volume outlive the server.
    Server(runtime::Loop& loop, engine::Volume& volume, std::string_view resource, Log log);
    ~Server();  // before start(), or after stop() has called back
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Listens on the path (mode 0600), in place of what an earlier process left there. Its directory must
    // exist.
    Status start(const std::string& socket_path);
    // No new clients; requests already taken are finished, then connections end. `done` comes from the loop,
    // once. The socket's path is removed.
    void stop(std::function<void()> done);

    // engine::User
    void completed(engine::Request& request) override;
    void room() override;

  private:
    friend class Connection;

    bool has_name(std::string_view name) const;
    engine::Request* take_request(engine::Op op, Sector sector, uint32_t size_bytes);
    void accept_next();
    void accepted(int result);
    void gone(Connection&
                  connection);  // called by it, to be destroyed: nothing of it is in the kernel or the engine
    void report_stopped();
    void log(engine::LogLevel level, std::string_view text) const;

    runtime::Loop& loop_;
    engine::Volume& volume_;
    const std::string name_;         // RESOURCE/VOLUME
    const std::string device_name_;  // drbdN
    const std::string description_;
    Log log_;

    std::string socket_path_;
    runtime::Fd listener_;
    bool room_awaited_ = false;
    bool stopping_ = false;
    std::function<void()> stopped_;
    List<Connection, Connection> connections_;
    runtime::On<&Server::accepted> accept_{loop_, *this};
    runtime::CallLater<&Server::report_stopped> stopped_soon_{*this};
    runtime::CallAfter<&Server::accept_next> accept_later_{*this};
};

}  // namespace duplex::exports::nbd
