// The lock per minor that DRBD's tools share (cli 30.2, meta data 15.2): drbdmeta must not write where
// drbdsetup attaches.
#pragma once

#include "base/result.hpp"

namespace duplex::control {

class DeviceLock {
  public:
    // Waits for at most a second; the error says who holds it.
    static Result<DeviceLock> take(unsigned minor);

    DeviceLock(DeviceLock&& other) noexcept;
    DeviceLock& operator=(DeviceLock&&) = delete;
    ~DeviceLock();

  private:
    explicit DeviceLock(int fd) : fd_(fd) {}
    int fd_;
};

}  // namespace duplex::control
