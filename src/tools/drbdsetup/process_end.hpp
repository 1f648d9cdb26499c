// After down and del-resource the process ends. Who typed the command may use its disks, addresses and minors
// the next moment, so the command ends no earlier.
#pragma once

#include "base/result.hpp"
#include "control/client.hpp"

namespace duplex::drbdsetup {

class ProcessEnd {
  public:
    // Of the process at the client's other end, which is alive.
    static Result<ProcessEnd> of(const control::Client& client);

    ProcessEnd(ProcessEnd&& other) noexcept;
    ProcessEnd& operator=(ProcessEnd&&) = delete;
    ~ProcessEnd();

    // As long as it takes: a process that hangs in its end still has the disks.
    void wait() const;

  private:
    explicit ProcessEnd(int pidfd) : pidfd_(pidfd) {}
    int pidfd_;
};

}  // namespace duplex::drbdsetup
