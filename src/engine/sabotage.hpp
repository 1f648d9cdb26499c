// Rules that the simulator's own test turns off, one at a time, to see that its checkers notice
// (sim/CMakeLists.txt). Nothing else defines these macros: in every product each of them is false.
#pragma once

namespace duplex::engine::sabotage {

// A write goes to the disk without its activity-log transaction (meta data R2).
#ifdef DUPLEX_SABOTAGE_ACTIVITY_LOG
inline constexpr bool activity_log = true;
#else
inline constexpr bool activity_log = false;
#endif

// A write that the peer may lack leaves no out-of-sync bit behind (I24).
#ifdef DUPLEX_SABOTAGE_OUT_OF_SYNC_BITS
inline constexpr bool out_of_sync_bits = true;
#else
inline constexpr bool out_of_sync_bits = false;
#endif

// Writes are reported before the new generation is on stable storage (I28).
#ifdef DUPLEX_SABOTAGE_NEW_GENERATION
inline constexpr bool new_generation = true;
#else
inline constexpr bool new_generation = false;
#endif

// A barrier is acknowledged without a flush (I26).
#ifdef DUPLEX_SABOTAGE_BARRIER_FLUSH
inline constexpr bool barrier_flush = true;
#else
inline constexpr bool barrier_flush = false;
#endif

// Only the first volume's disk is flushed before the next epoch (I25).
#ifdef DUPLEX_SABOTAGE_OTHER_VOLUMES_FLUSH
inline constexpr bool other_volumes_flush = true;
#else
inline constexpr bool other_volumes_flush = false;
#endif

// The bitmap forgets blocks that are not stable yet.
#ifdef DUPLEX_SABOTAGE_STABLE_BLOCKS
inline constexpr bool stable_blocks = true;
#else
inline constexpr bool stable_blocks = false;
#endif

// A node pulls ahead only where there is congestion; else it would never catch up with its peer.
#ifdef DUPLEX_SABOTAGE_CONGESTION
inline constexpr bool congestion = true;
#else
inline constexpr bool congestion = false;
#endif

// A write under protocol B completes when TCP has it (I19).
#ifdef DUPLEX_SABOTAGE_RECEIVE_ACK
inline constexpr bool receive_ack = true;
#else
inline constexpr bool receive_ack = false;
#endif

// What is issued after a write has completed may share its epoch (I25).
#ifdef DUPLEX_SABOTAGE_EPOCHS
inline constexpr bool epochs = true;
#else
inline constexpr bool epochs = false;
#endif

// A write does not wait for one in its place (I29).
#ifdef DUPLEX_SABOTAGE_OVERLAPPING_WRITES
inline constexpr bool overlapping_writes = true;
#else
inline constexpr bool overlapping_writes = false;
#endif

// Requests are admitted while the bitmaps are exchanged (I10).
#ifdef DUPLEX_SABOTAGE_ADMISSION
inline constexpr bool admission = true;
#else
inline constexpr bool admission = false;
#endif

}  // namespace duplex::engine::sabotage
