// Following the events of one resource, or of all, including those that come later.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/client.hpp"
#include "control/message.hpp"
#include "control/run_dir.hpp"

namespace duplex::control {

struct Happening {
    enum class Kind : uint8_t {
        event,
        gone,  // the resource's process has ended
        timeout,
        reader_gone,  // nobody reads stdout any more
    };
    Kind kind = Kind::timeout;
    std::string resource;
    std::optional<Event> event;
};

class Follower {
  public:
    // only: the one resource to follow; empty: all.
    Follower(RunDir run_dir, std::string only);
    ~Follower();
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    // The resources there are now; each one's first event is its present status. A process that cannot be
    // talked to gives its reason to complaints.
    std::vector<std::string> start(std::vector<std::string>& complaints);

    // Waits for what comes next; timeout_ms -1: for ever. Error: a process talks nonsense.
    Result<Happening> next(int timeout_ms);

  private:
    bool follow(const std::string& resource, std::string& complaint);
    std::optional<Result<Happening>> from_clients();
    void look_for_new_resources();

    RunDir run_dir_;
    std::string only_;
    int inotify_ = -1;
    bool is_watching_ = false;
    std::map<std::string, Client> clients_;
};

}  // namespace duplex::control
