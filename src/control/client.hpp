// A tool's end of RESOURCE.sock. Blocking.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control/message.hpp"
#include "control/run_dir.hpp"

namespace duplex::control {

enum class Absence : uint8_t {
    none,     // the resource has no socket: it does not exist
    dead,     // a socket is there, but its process is not
    refused,  // it exists and we may not talk to it (permissions), or something else is wrong
};

// Why there is no connection.
struct ConnectFailure {
    Absence absence = Absence::none;
    std::string text;  // for the administrator
};

class Client {
  public:
    static constexpr int no_timeout = -1;

    // On failure failure says why.
    static std::optional<Client> connect(const RunDir& run_dir, std::string_view resource,
                                         ConnectFailure& failure);

    Client(Client&& other) noexcept;
    Client& operator=(Client&& other) noexcept;
    ~Client();

    // Waits as long as the command takes; DRBD's commands have no time limit of their own.
    Result<engine::Reply> execute(const Request& request);
    Result<engine::ResourceStatus> status(int timeout_ms = no_timeout);

    // After subscribe(): the first event is the present status. nullopt: the process has ended.
    Status subscribe();
    Result<std::optional<Event>> next_event();
    // For poll(); readable when next_event() has something to read. Call it until has_event() is false.
    int fd() const { return fd_; }
    bool has_event() const { return in_.find('\n') != std::string::npos; }

    // For waiting on several resources at once: sends the request for the status, then reads without
    // blocking.
    Status request_status();
    enum class Progress : uint8_t { waiting, complete, failed };
    Progress read_some();
    Result<engine::ResourceStatus> take_status();

  private:
    Client(int fd, std::string resource) : fd_(fd), resource_(std::move(resource)) {}
    Status send(const std::string& line);
    // An empty optional: the process closed the connection. Waits at most timeout_ms.
    Result<std::optional<std::string>> next_line(int timeout_ms);
    Result<std::string> expect_line(int timeout_ms);

    int fd_ = -1;
    std::string resource_;
    std::string in_;
};

}  // namespace duplex::control
