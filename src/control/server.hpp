// The process's end of RESOURCE.sock: takes requests from tools, one at a time from each, and sends events to
// those who asked for them.
//
// All its sockets are gathered behind one descriptor, fd(), that any loop can wait for; serve() then does
// what is due and never blocks. Clients, messages and backlogs are bounded: who sends too much is told so and
// closed, who reads too slowly misses events (and learns how many), never the latest status.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "control/message.hpp"

namespace duplex::control {

// What a process offers its tools.
class Service {
  public:
    // done is called once, now or later.
    virtual void execute(const Request& request, engine::Done done) = 0;
    virtual engine::ResourceStatus status() = 0;

  protected:
    ~Service() = default;
};

class Server {
  public:
    static constexpr size_t clients_max = 64;
    static constexpr size_t backlog_bytes_max = size_t{1} << 20;  // of one subscriber

    // Takes the place of a dead process's socket. Error: a living process listens there.
    static Result<std::unique_ptr<Server>> listen(const std::string& path, Service& service);
    // Removes the socket. Requests that are being executed are not answered any more.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    int fd() const { return epoll_; }
    void serve();

    // Something a status shows has changed: tells the subscribers.
    void state_changed();
    void helper_event(std::string_view helper, int minor, std::optional<int> wait_status);
    // No more requests are taken; those already answered still get their answers.
    void stop_listening();

  private:
    struct Client;

    Server(std::string path, Service& service);
    Status open();
    void accept_clients();
    void client_ready(uint64_t id, uint32_t events);
    bool read_from(Client& client);
    void take_lines(Client& client);
    void handle(Client& client, std::string_view line);
    void answer(uint64_t id, const engine::Reply& reply);
    void refuse(Client& client, std::string_view why);
    void send_status_event(Client& client);
    void send(Client& client, const std::string& line);
    void flush(Client& client);
    void watch(Client& client) const;
    void drop(uint64_t id);

    std::string path_;
    Service& service_;
    int listener_ = -1;
    int epoll_ = -1;
    uint64_t next_id_ = 1;  // 0 is the listener in the epoll set
    std::map<uint64_t, std::unique_ptr<Client>> clients_;
    // Late answers find out whether their server still lives.
    std::shared_ptr<Server*> self_ = std::make_shared<Server*>(this);
};

}  // namespace duplex::control
