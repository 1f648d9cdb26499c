#include "wire/state.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"
#include "wire/state_change.hpp"

namespace duplex::wire {
namespace {

TEST(State, PacksTheObservedWords) {
    // wire protocol 6.1
    EXPECT_EQ((State{.role = Role::secondary,
                     .peer = Role::unknown,
                     .conn = ConnState::wf_connection,
                     .disk = DiskState::inconsistent,
                     .pdsk = DiskState::d_unknown})
                  .pack(),
              0x0000c882u);
    EXPECT_EQ((State{.role = Role::secondary,
                     .peer = Role::primary,
                     .conn = ConnState::connected,
                     .disk = DiskState::up_to_date,
                     .pdsk = DiskState::up_to_date})
                  .pack(),
              0x000110a6u);
    EXPECT_EQ((State{.role = Role::primary,
                     .peer = Role::secondary,
                     .conn = ConnState::wf_bitmap_s,
                     .disk = DiskState::up_to_date,
                     .pdsk = DiskState::consistent})
                  .pack(),
              0x0000f0d9u);
    EXPECT_EQ((State{.role = Role::secondary,
                     .peer = Role::primary,
                     .conn = ConnState::paused_sync_t,
                     .disk = DiskState::inconsistent,
                     .pdsk = DiskState::up_to_date,
                     .user_isp = true})
                  .pack(),
              0x00110956u);
}

TEST(State, EveryLegalWordComesBack) {
    for (uint32_t word = 0; word < 1u << 23; ++word)
        if (const auto state = State::unpack(word)) {
            ASSERT_EQ(state->pack(), word);
        }
}

TEST(State, ValuesWithoutNameAreRefused) {
    EXPECT_FALSE(State::unpack(0x3));       // role
    EXPECT_FALSE(State::unpack(0x3 << 2));  // peer
    EXPECT_FALSE(State::unpack(24 << 4));   // conn
    EXPECT_FALSE(State::unpack(31 << 4));
    EXPECT_FALSE(State::unpack(9 << 9));    // disk
    EXPECT_FALSE(State::unpack(15 << 13));  // pdsk
    EXPECT_TRUE(State::unpack(0));
}

TEST(State, UnusedBitsAreIgnored) {
    EXPECT_EQ(State::unpack(0xff8110a6u), State::unpack(0x000110a6u));
}

TEST(State, NamesAreTheKernels) {
    EXPECT_EQ(name_of(ConnState::stand_alone), "StandAlone");
    EXPECT_EQ(name_of(ConnState::wf_report_params), "WFReportParams");
    EXPECT_EQ(name_of(ConnState::wf_bitmap_t), "WFBitMapT");
    EXPECT_EQ(name_of(ConnState::wf_sync_uuid), "WFSyncUUID");
    EXPECT_EQ(name_of(ConnState::sync_source), "SyncSource");
    EXPECT_EQ(name_of(ConnState::behind), "Behind");
    EXPECT_EQ(name_of(DiskState::d_unknown), "DUnknown");
    EXPECT_EQ(name_of(DiskState::up_to_date), "UpToDate");
    EXPECT_EQ(name_of(Role::secondary), "Secondary");
}

TEST(StateChange, OnlyTheRequestsOfTheTableAreKnown) {
    for (int i = 0; i <= static_cast<int>(StateChangeKind::remove_volume); ++i) {
        const auto kind = static_cast<StateChangeKind>(i);
        const auto request = request_for(kind);
        EXPECT_EQ(known_request(command_for(kind), request), kind);
        EXPECT_EQ(request.value & ~request.mask, 0u);
        const auto other =
            command_for(kind) == Command::state_chg_req ? Command::conn_st_chg_req : Command::state_chg_req;
        EXPECT_FALSE(known_request(other, request));
    }
    EXPECT_FALSE(known_request(Command::state_chg_req, {0xffffffff, 0xffffffff}));
    EXPECT_FALSE(known_request(Command::state_chg_req, {state_bits::susp, state_bits::susp}));
    EXPECT_FALSE(known_request(Command::state_chg_req, {0x3, 0x2}));
}

TEST(StateChange, PeersViewSwapsTheSides) {
    // wire protocol 6.4: become Primary by force is, for the peer, its peer Primary and its peer's disk
    // UpToDate.
    EXPECT_EQ(in_peers_view(0x00001e03), 0x0001e00cu);
    EXPECT_EQ(in_peers_view(0x00001001), 0x00010004u);
    EXPECT_EQ(in_peers_view(0x0000a010),
              (5u << 9) | (7u << 4));         // disconnect, peer outdated: TearDown, disk Outdated
    EXPECT_EQ(in_peers_view(0x1f0), 0x1f0u);  // a mask stays a mask
    EXPECT_EQ(in_peers_view(0x0c0), 0x0b0u);  // StartingSyncT: StartingSyncS
    EXPECT_EQ(in_peers_view(0x0b0), 0x0c0u);
    EXPECT_EQ(in_peers_view(0x120), 0x130u);  // VerifyS: VerifyT
    EXPECT_EQ(in_peers_view(0x100), 0x000u);  // SyncSource cannot be asked for
    EXPECT_EQ(in_peers_view(0x0a0), 0x0a0u);  // Connected
}

TEST(StateChange, TextsAreTheKernels) {
    EXPECT_EQ(text_of(StateChangeResult::two_primaries), "Multiple primaries not allowed by config");
    EXPECT_EQ(text_of(static_cast<StateChangeResult>(-12)), "Device is held open by someone");
    EXPECT_EQ(text_of(static_cast<StateChangeResult>(-22)), "unknown error");
    EXPECT_TRUE(is_success(StateChangeResult::cw_no_need));
    EXPECT_FALSE(is_success(StateChangeResult::unknown_error));
}

}  // namespace
}  // namespace duplex::wire
