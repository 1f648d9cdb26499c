// I10: in these states no new request of the applications may be admitted (states 9.1).
#pragma once

#include "engine/states.hpp"

namespace duplex::sim {

inline bool admits_requests(const engine::State& s) {
    return s.disk != engine::DiskState::attaching && s.disk != engine::DiskState::negotiating &&
           s.conn != engine::ConnState::wf_bitmap_t && s.conn != engine::ConnState::wf_sync_uuid;
}

}  // namespace duplex::sim
