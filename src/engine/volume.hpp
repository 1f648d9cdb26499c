// A volume as the exports and the process see it: its size, its openers and its requests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/request.hpp"
#include "engine/status.hpp"

namespace duplex::engine {

// The exports of a volume, told what a block device's users would notice.
class VolumeWatcher {
  public:
    virtual void size_changed(uint64_t size_sectors) = 0;
    // May applications read and write it now? Follows the role (states 8.1).
    virtual void primary_changed(bool primary) = 0;

  protected:
    ~VolumeWatcher() = default;
};

class Volume {
  public:
    virtual unsigned number() const = 0;
    virtual unsigned minor() const = 0;
    virtual uint64_t size_sectors() const = 0;
    virtual bool is_primary() const = 0;
    // Discards are offered to applications only where every party can take them (wire protocol 5.3).
    virtual bool can_discard() const = 0;

    // 0, or the errno value that DRBD's open gives: EROFS or EMEDIUMTYPE on a Secondary (states 8.1). Every
    // successful open is paired with a close; openers block demotion, and are named when one is refused.
    virtual int open(bool for_writing, std::string_view who) = 0;
    virtual void close(std::string_view who) = 0;

    // At most one watcher per export kind; all are told.
    virtual void add_watcher(VolumeWatcher& watcher) = 0;
    virtual void remove_watcher(VolumeWatcher& watcher) = 0;

    // A request with a buffer of size_bytes for reads and writes (at most request_bytes_max; discards and
    // write-zeroes at most discard_request_bytes_max and without a buffer). nullptr: nothing free now,
    // user.room() follows.
    virtual Request* take_request(Op op, Sector sector, uint32_t size_bytes, User& user) = 0;
    // Validated here: a range outside the device or a misaligned one completes with EINVAL, a Secondary's
    // requests with EROFS (writes) or EMEDIUMTYPE (reads).
    virtual void submit(Request& request) = 0;
    // After completed(), or for a request that was never submitted.
    virtual void release(Request& request) = 0;

  protected:
    ~Volume() = default;
};

}  // namespace duplex::engine
