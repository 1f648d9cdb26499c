// The option disk-timeout (states 16): a disk that does not answer is given up by force.
#pragma once

#include <cstdint>

#include "engine/ports.hpp"

namespace duplex::engine {

class Core;
class Device;

class DiskTimeout {
  public:
    DiskTimeout(Core& core, Device& device) : core_(core), device_(device), timer_(*this) {}
    ~DiskTimeout();

    // A disk is attached, or the option has changed.
    void restart();

  private:
    class CheckTimer final : public Timer {
      public:
        explicit CheckTimer(DiskTimeout& o) : owner(o) {}
        void fired() override { owner.check(); }
        DiskTimeout& owner;
    };

    void check();
    uint64_t limit_ms() const;
    uint64_t waiting_since_ms(uint64_t now_ms);

    Core& core_;
    Device& device_;
    CheckTimer timer_;
    uint64_t started_ms_ = 0;
    // Meta data I/O carries no times: it stands still when none of it ends.
    uint64_t meta_ended_ = 0;
    uint64_t meta_since_ms_ = 0;
};

}  // namespace duplex::engine
