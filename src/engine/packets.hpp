// Packets without a data block of their own, from a fixed pool: they go back to it when they are sent.
#pragma once

#include "base/pool.hpp"
#include "engine/ports.hpp"

namespace duplex::engine {

class PacketPool;

class SmallPacket final : public OutPacket {
  public:
    void done(bool sent) override;

  private:
    friend class PacketPool;
    PacketPool* pool_ = nullptr;
};

class PacketPool {
  public:
    explicit PacketPool(size_t capacity) : pool_(capacity) {}

    // nullptr: the peer takes nothing off our hands; the connection has to be given up.
    SmallPacket* take() {
        SmallPacket* packet = pool_.take();
        if (!packet) return nullptr;
        packet->pool_ = this;
        packet->head_bytes = 0;
        packet->payload = nullptr;
        packet->payload_bytes = 0;
        return packet;
    }
    void give(SmallPacket& packet) { pool_.give(&packet); }
    size_t available() const { return pool_.available(); }

  private:
    Pool<SmallPacket> pool_;
};

inline void SmallPacket::done(bool) {
    pool_->give(*this);
}

}  // namespace duplex::engine
