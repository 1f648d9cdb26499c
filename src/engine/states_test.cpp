#include "engine/states.hpp"

#include <map>

#include <gtest/gtest.h>

#include "engine/rules_test_util.hpp"
#include "meta/superblock.hpp"

namespace duplex::engine {
namespace {

using config::Fencing;
using config::OnNoData;
using testing::disk_named;
using testing::state;
using R = StateChangeResult;

StateContext connected_context() {
    return {.net_configured = true, .verify_alg_set = true};
}

std::string words(const State& s) {
    return describe(s);
}

// ---- 2.3 --------------------------------------------------------------------------------------------------

TEST(HardRule, EveryRow) {
    const struct {
        const char* from;
        const char* to;
        R result;
    } rows[] = {
        {"Connected", "Connected", R::nothing_to_do},
        {"StandAlone", "Disconnecting", R::already_stand_alone},
        {"StandAlone", "WFConnection", R::need_connection},
        {"StandAlone", "Connected", R::need_connection},
        {"StandAlone", "Unconnected", R::success},
        {"WFConnection", "Connected", R::need_connection},
        {"WFConnection", "WFReportParams", R::success},
        {"WFReportParams", "Connected", R::success},
        {"WFReportParams", "WFBitMapS", R::success},
        {"Timeout", "WFConnection", R::in_transient_state},
        {"Timeout", "BrokenPipe", R::in_transient_state},
        {"TearDown", "NetworkFailure", R::in_transient_state},
        {"BrokenPipe", "Unconnected", R::success},
        {"ProtocolError", "Disconnecting", R::success},
        {"ProtocolError", "Connected", R::need_connection},
        {"Disconnecting", "Unconnected", R::in_transient_state},
        {"Disconnecting", "StandAlone", R::success},
        {"Connected", "NetworkFailure", R::success},
    };
    for (const auto& row : rows) {
        State from = state("Connected Secondary/Unknown UpToDate/DUnknown"), to = from;
        from.conn = testing::conn_named(row.from);
        to.conn = testing::conn_named(row.to);
        EXPECT_EQ(hard_rule(from, to), row.result) << row.from << " -> " << row.to;
    }
}

TEST(HardRule, DisklessCannotFailAndThisOverrides) {
    const State from = state("Connected Secondary/Secondary Diskless/UpToDate");
    State to = from;
    to.disk = DiskState::failed;
    EXPECT_EQ(hard_rule(from, to), R::is_diskless);
    to.conn = ConnState::network_failure;
    EXPECT_EQ(hard_rule(from, to), R::is_diskless);
}

// ---- 2.4 --------------------------------------------------------------------------------------------------

TEST(StateRule, EveryRow) {
    const StateContext plain = connected_context();
    StateContext two = plain, open = plain, other = plain, fencing = plain, no_alg = plain;
    two.allow_two_primaries = true;
    open.device_open = true;
    other.peer_primary_on_other_volume = true;
    fencing.fencing = Fencing::resource_only;
    no_alg.verify_alg_set = false;
    StateContext no_net_no_alg = no_alg;
    no_net_no_alg.net_configured = false;

    const struct {
        int row;
        const char* state;
        const StateContext& context;
        R result;
    } rows[] = {
        {1, "Connected Primary/Primary UpToDate/UpToDate", plain, R::two_primaries},
        {1, "Connected Primary/Primary UpToDate/UpToDate", two, R::success},
        {1, "Connected Secondary/Primary UpToDate/UpToDate", plain, R::success},
        {2, "Connected Primary/Secondary UpToDate/UpToDate", other, R::o_vol_peer_pri},
        {2, "Connected Secondary/Secondary UpToDate/UpToDate", other, R::success},
        {3, "Connected Secondary/Secondary UpToDate/UpToDate", open, R::device_in_use},
        {3, "Connected Primary/Secondary UpToDate/UpToDate", open, R::success},
        {4, "WFConnection Primary/Unknown Consistent/DUnknown", plain, R::no_up_to_date_disk},
        {4, "WFConnection Primary/Unknown UpToDate/DUnknown", plain, R::success},
        {5, "WFConnection Primary/Unknown UpToDate/DUnknown", fencing, R::primary_nop},
        {5, "WFConnection Primary/Unknown UpToDate/Outdated", fencing, R::success},
        {6, "Connected Primary/Secondary Inconsistent/Inconsistent", plain, R::no_up_to_date_disk},
        {6, "Connected Primary/Secondary Diskless/Diskless", plain, R::no_up_to_date_disk},
        {6, "Connected Primary/Secondary Diskless/UpToDate", plain, R::success},
        {7, "SyncTarget Secondary/Secondary Negotiating/UpToDate", plain, R::no_local_disk},
        {8, "SyncSource Secondary/Secondary UpToDate/Negotiating", plain, R::no_remote_disk},
        {9, "WFBitMapS Secondary/Secondary Inconsistent/Consistent", plain, R::no_up_to_date_disk},
        {9, "Ahead Secondary/Secondary Consistent/Consistent", plain, R::no_up_to_date_disk},
        {10, "Connected Secondary/Secondary Outdated/UpToDate", plain, R::connected_outdates},
        {10, "WFBitMapS Secondary/Secondary Outdated/UpToDate", plain, R::connected_outdates},
        {10, "SyncSource Secondary/Secondary Outdated/UpToDate", plain, R::connected_outdates},
        {10, "PausedSyncS Secondary/Secondary Outdated/UpToDate", plain, R::connected_outdates},
        {10, "WFBitMapT Secondary/Secondary Outdated/UpToDate", plain, R::success},
        {10, "Connected Secondary/Secondary Outdated/Diskless", plain, R::success},
        {10, "Connected Secondary/Primary Outdated/Diskless", plain, R::connected_outdates},
        {11, "VerifyS Secondary/Secondary UpToDate/UpToDate", no_alg, R::no_verify_alg},
        {11, "VerifyT Secondary/Secondary UpToDate/UpToDate", no_alg, R::no_verify_alg},
        {11, "VerifyT Secondary/Secondary UpToDate/UpToDate", no_net_no_alg, R::success},
        {11, "VerifyS Secondary/Secondary UpToDate/UpToDate", plain, R::success},
        {13, "Connected Primary/Secondary Outdated/Consistent", plain, R::connected_outdates},
        {13, "Connected Primary/Secondary Consistent/Consistent", plain, R::no_up_to_date_disk},
        {13, "Connected Secondary/Secondary Consistent/Consistent", plain, R::success},
        {14, "StartingSyncS Secondary/Secondary UpToDate/DUnknown", plain, R::need_connection},
        {14, "StartingSyncT Secondary/Secondary UpToDate/DUnknown", plain, R::need_connection},
        {15, "Connected Secondary/Secondary UpToDate/DUnknown", plain, R::connected_outdates},
        {15, "WFConnection Secondary/Unknown UpToDate/DUnknown", plain, R::success},
    };
    for (const auto& row : rows)
        EXPECT_EQ(state_rule(state(row.state), row.context), row.result) << row.row << ": " << row.state;
}

TEST(StateRule, FencingCountsOnlyWithADisk) {
    EXPECT_EQ(effective_fencing(Fencing::resource_and_stonith, DiskState::inconsistent),
              Fencing::resource_and_stonith);
    EXPECT_EQ(effective_fencing(Fencing::resource_and_stonith, DiskState::negotiating), Fencing::dont_care);
    EXPECT_EQ(effective_fencing(Fencing::resource_only, DiskState::diskless), Fencing::dont_care);
}

TEST(SoftRule, EveryRow) {
    const StateContext plain = connected_context();
    StateContext sent = plain;
    sent.state_sent = true;
    const struct {
        int row;
        const char* from;
        const char* to;
        const StateContext& context;
        R result;
    } rows[] = {
        {1, "SyncSource Secondary/Secondary UpToDate/Inconsistent",
         "StartingSyncS Secondary/Secondary UpToDate/Inconsistent", plain, R::resync_running},
        {1, "VerifyS Secondary/Secondary UpToDate/UpToDate",
         "StartingSyncT Secondary/Secondary Outdated/UpToDate", plain, R::resync_running},
        {1, "Connected Secondary/Secondary UpToDate/UpToDate",
         "StartingSyncT Secondary/Secondary Outdated/UpToDate", plain, R::success},
        {2, "StandAlone Secondary/Unknown UpToDate/DUnknown",
         "Disconnecting Secondary/Unknown UpToDate/DUnknown", plain, R::already_stand_alone},
        {3, "StandAlone Secondary/Unknown Diskless/DUnknown",
         "StandAlone Secondary/Unknown Inconsistent/DUnknown", plain, R::is_diskless},
        {3, "StandAlone Secondary/Unknown Diskless/DUnknown",
         "StandAlone Secondary/Unknown Attaching/DUnknown", plain, R::success},
        {4, "Disconnecting Secondary/Unknown UpToDate/DUnknown",
         "WFConnection Secondary/Unknown UpToDate/DUnknown", plain, R::no_net_config},
        {4, "Unconnected Secondary/Unknown UpToDate/DUnknown",
         "WFConnection Secondary/Unknown UpToDate/DUnknown", plain, R::success},
        {5, "StandAlone Secondary/Unknown Inconsistent/DUnknown",
         "StandAlone Secondary/Unknown Outdated/DUnknown", plain, R::lower_than_outdated},
        {5, "StandAlone Secondary/Unknown Attaching/DUnknown",
         "StandAlone Secondary/Unknown Outdated/DUnknown", plain, R::success},
        {5, "StandAlone Secondary/Unknown UpToDate/DUnknown",
         "StandAlone Secondary/Unknown Outdated/DUnknown", plain, R::success},
        {6, "Unconnected Secondary/Unknown UpToDate/DUnknown",
         "Disconnecting Secondary/Unknown UpToDate/DUnknown", plain, R::in_transient_state},
        {6, "WFConnection Secondary/Unknown UpToDate/DUnknown",
         "Disconnecting Secondary/Unknown UpToDate/DUnknown", plain, R::success},
        {7, "WFReportParams Secondary/Unknown UpToDate/DUnknown",
         "WFReportParams Primary/Unknown UpToDate/DUnknown", sent, R::in_transient_state},
        {7, "WFConnection Secondary/Unknown UpToDate/DUnknown",
         "WFReportParams Secondary/Unknown UpToDate/DUnknown", sent, R::success},
        {7, "WFReportParams Secondary/Unknown UpToDate/DUnknown",
         "WFBitMapS Secondary/Secondary UpToDate/Consistent", sent, R::success},
        {8, "WFBitMapT Secondary/Secondary Outdated/UpToDate",
         "WFBitMapT Primary/Secondary Outdated/UpToDate", plain, R::in_transient_state},
        {8, "Connected Secondary/Secondary Inconsistent/UpToDate",
         "Connected Primary/Secondary Inconsistent/UpToDate", plain, R::in_transient_state},
        {8, "SyncTarget Secondary/Secondary Inconsistent/UpToDate",
         "SyncTarget Primary/Secondary Inconsistent/UpToDate", plain, R::success},
        {8, "SyncTarget Secondary/Secondary Inconsistent/UpToDate",
         "PausedSyncT Primary/Secondary Inconsistent/UpToDate", plain, R::in_transient_state},
        {8, "Connected Secondary/Secondary Diskless/UpToDate",
         "Connected Primary/Secondary Diskless/UpToDate", plain, R::success},
        {9, "WFConnection Secondary/Unknown UpToDate/DUnknown", "VerifyS Secondary/Unknown UpToDate/UpToDate",
         plain, R::need_connection},
        {10, "SyncSource Secondary/Secondary UpToDate/Inconsistent",
         "VerifyS Secondary/Secondary UpToDate/UpToDate", plain, R::resync_running},
        {10, "VerifyS Secondary/Secondary UpToDate/UpToDate", "VerifyS Primary/Secondary UpToDate/UpToDate",
         plain, R::success},
        {11, "WFConnection Secondary/Unknown UpToDate/DUnknown",
         "StartingSyncS Secondary/Unknown UpToDate/Consistent", plain, R::need_connection},
        {12, "WFConnection Secondary/Unknown UpToDate/DUnknown",
         "SyncSource Secondary/Unknown UpToDate/Inconsistent", plain, R::need_connection},
        {13, "WFConnection Primary/Unknown UpToDate/DUnknown",
         "Disconnecting Primary/Unknown UpToDate/Outdated", plain, R::outdate_wo_conn},
        {13, "Connected Primary/Secondary UpToDate/UpToDate",
         "Disconnecting Primary/Unknown UpToDate/Outdated", plain, R::success},
        {14, "Connected Secondary/Secondary Diskless/Outdated",
         "Connected Primary/Secondary Diskless/UpToDate", plain, R::no_up_to_date_disk},
        {14, "Connected Secondary/Secondary Outdated/Diskless",
         "Connected Secondary/Primary UpToDate/Diskless", plain, R::no_up_to_date_disk},
        {14, "Connected Secondary/Secondary Diskless/UpToDate",
         "Connected Primary/Secondary Diskless/UpToDate", plain, R::success},
        {14, "Connected Secondary/Secondary Outdated/Diskless",
         "Connected Primary/Secondary UpToDate/Diskless", plain, R::success},  // forced
    };
    for (const auto& row : rows)
        EXPECT_EQ(soft_rule(state(row.from), state(row.to), row.context), row.result)
            << row.row << ": " << row.from << " -> " << row.to;
}

TEST(SoftRule, TheLastMatchWins) {
    // Rules 7 and 13.
    StateContext sent = connected_context();
    sent.state_sent = true;
    EXPECT_EQ(soft_rule(state("WFReportParams Primary/Unknown UpToDate/DUnknown"),
                        state("Disconnecting Primary/Unknown UpToDate/Outdated"), sent),
              R::outdate_wo_conn);
}

// ---- 2.5 --------------------------------------------------------------------------------------------------

struct SanitiseRow {
    const char* step;
    const char* from;
    const char* wanted;
    const char* result;
    SanitiseWarning warning = SanitiseWarning::none;
};

void expect_rows(std::initializer_list<SanitiseRow> rows, const StateContext& context) {
    for (const SanitiseRow& row : rows) {
        const Sanitised got = sanitise(state(row.from), state(row.wanted), context);
        EXPECT_EQ(words(got.state), words(state(row.result))) << row.step << ": " << row.wanted;
        EXPECT_EQ(got.warning, row.warning) << row.step << ": " << row.wanted;
    }
}

TEST(Sanitise, S1ToS3) {
    const char* up = "Connected Secondary/Primary UpToDate/UpToDate";
    expect_rows(
        {
            {"S1", up, "NetworkFailure Secondary/Primary UpToDate/UpToDate peer",
             "NetworkFailure Secondary/Unknown UpToDate/DUnknown"},
            {"S1", up, "NetworkFailure Secondary/Primary UpToDate/Diskless",
             "NetworkFailure Secondary/Unknown UpToDate/DUnknown"},
            {"S1", up, "TearDown Secondary/Primary UpToDate/Outdated",
             "TearDown Secondary/Unknown UpToDate/Outdated"},
            {"S1", up, "TearDown Secondary/Primary UpToDate/Inconsistent",
             "TearDown Secondary/Unknown UpToDate/Inconsistent"},
            {"S2", "StandAlone Secondary/Unknown Failed/DUnknown aftr",
             "StandAlone Secondary/Unknown Diskless/DUnknown aftr",
             "StandAlone Secondary/Unknown Diskless/DUnknown"},
            {"S2", "StandAlone Secondary/Unknown UpToDate/DUnknown aftr",
             "StandAlone Secondary/Unknown UpToDate/DUnknown aftr",
             "StandAlone Secondary/Unknown UpToDate/DUnknown aftr"},
            {"S3", "SyncSource Secondary/Secondary UpToDate/Inconsistent",
             "SyncSource Secondary/Secondary Failed/Inconsistent",
             "Connected Secondary/Secondary Failed/Inconsistent", SanitiseWarning::aborted_resync},
            {"S3", "VerifyS Secondary/Secondary UpToDate/UpToDate",
             "VerifyS Secondary/Secondary UpToDate/Diskless",
             "Connected Secondary/Secondary UpToDate/Diskless", SanitiseWarning::aborted_verify},
            // Deviation: the peer's disk lacks a write.
            {"S3", "VerifyS Secondary/Secondary UpToDate/UpToDate",
             "VerifyS Secondary/Secondary UpToDate/Inconsistent",
             "Connected Secondary/Secondary UpToDate/Inconsistent", SanitiseWarning::aborted_verify},
            // A block that cannot be read ends no verify.
            {"S6", "VerifyS Secondary/Secondary UpToDate/UpToDate",
             "VerifyS Secondary/Secondary Inconsistent/UpToDate",
             "VerifyS Secondary/Secondary UpToDate/UpToDate"},
        },
        connected_context());
}

// The kernel would call the stale disk UpToDate in each of these.
TEST(Sanitise, S3LeavesAStaleDiskInconsistent) {
    for (const char* conn : {"Behind", "WFBitMapT", "StartingSyncT", "WFSyncUUID"}) {
        const std::string before = std::string(conn) + " Secondary/Primary Outdated/UpToDate";
        const std::string lost = std::string(conn) + " Secondary/Primary Outdated/Failed";
        EXPECT_EQ(words(sanitise(state(before), state(lost), connected_context()).state),
                  words(state("Connected Secondary/Primary Inconsistent/Failed")))
            << conn;
        const std::string self_lost = std::string(conn) + " Secondary/Primary Failed/UpToDate";
        EXPECT_EQ(words(sanitise(state(before), state(self_lost), connected_context()).state),
                  words(state("Connected Secondary/Primary Failed/UpToDate")))
            << conn;
    }
    for (const char* conn : {"Ahead", "WFBitMapS", "StartingSyncS"}) {
        const std::string before = std::string(conn) + " Primary/Secondary UpToDate/Consistent";
        const std::string lost = std::string(conn) + " Primary/Secondary Failed/Consistent";
        const State after = sanitise(state(before), state(lost), connected_context()).state;
        EXPECT_EQ(words(after), words(state("Connected Primary/Secondary Failed/Inconsistent"))) << conn;
        // So a Primary's detach is refused, and a Primary that loses the disk has no data to go on with.
        EXPECT_EQ(check_change(state(before), state(lost), connected_context(), ChangeKind::wish).result,
                  R::no_up_to_date_disk)
            << conn;
    }
}

TEST(Sanitise, S4) {
    const char* negotiating = "Connected Secondary/Secondary Negotiating/UpToDate";
    StateContext context = connected_context();
    context.prepared_disk = DiskState::consistent;
    context.prepared_pdsk = DiskState::outdated;
    expect_rows({{"S4", negotiating, "BrokenPipe Secondary/Secondary Negotiating/UpToDate",
                  "BrokenPipe Secondary/Unknown Diskless/DUnknown",
                  SanitiseWarning::connection_lost_while_negotiating}},
                context);
    context.exposed_data_is_current = true;
    expect_rows({{"S4", negotiating, "BrokenPipe Secondary/Secondary Negotiating/UpToDate",
                  "BrokenPipe Secondary/Unknown Consistent/Outdated"},
                 {"S4", negotiating, "Connected Secondary/Secondary Negotiating/UpToDate",
                  "Connected Secondary/Secondary Negotiating/UpToDate"}},
                context);
    context.prepared_pdsk = DiskState::up_to_date;
    expect_rows({{"S4", negotiating, "BrokenPipe Secondary/Secondary Negotiating/UpToDate",
                  "BrokenPipe Secondary/Unknown Consistent/DUnknown"}},
                context);
}

TEST(Sanitise, S5AndS6) {
    const char* params = "WFReportParams Secondary/Unknown Consistent/DUnknown";
    const char* params_up = "WFReportParams Secondary/Unknown UpToDate/DUnknown";
    const char* up = "Connected Secondary/Secondary UpToDate/UpToDate";
    expect_rows(
        {
            {"S5", params, "Connected Secondary/Secondary Consistent/Outdated",
             "Connected Secondary/Secondary UpToDate/UpToDate"},
            {"S5", up, "Connected Secondary/Secondary Outdated/UpToDate",
             "Connected Secondary/Secondary UpToDate/UpToDate"},
            {"S5", params, "Connected Secondary/Secondary Outdated/Diskless",
             "Connected Secondary/Secondary Outdated/Diskless"},
            {"S5", params, "Connected Secondary/Secondary Diskless/Outdated",
             "Connected Secondary/Secondary Diskless/Outdated"},
            {"S5", params, "Connected Secondary/Primary Outdated/Diskless",
             "Connected Secondary/Primary UpToDate/Diskless"},
            {"S5", up, "Behind Secondary/Secondary Outdated/UpToDate",
             "Behind Secondary/Secondary Outdated/UpToDate"},
            {"S6", params_up, "WFBitMapT Secondary/Primary UpToDate/UpToDate",
             "WFBitMapT Secondary/Primary Outdated/UpToDate"},
            {"S6", params_up, "WFBitMapS Secondary/Secondary UpToDate/UpToDate",
             "WFBitMapS Secondary/Secondary UpToDate/Consistent"},
            {"S6", "WFBitMapS Secondary/Secondary UpToDate/Consistent",
             "SyncSource Secondary/Secondary UpToDate/Consistent",
             "SyncSource Secondary/Secondary UpToDate/Inconsistent"},
            {"S6", "Connected Secondary/Primary Negotiating/UpToDate",
             "WFBitMapT Secondary/Primary Negotiating/UpToDate",
             "WFBitMapT Secondary/Primary Inconsistent/UpToDate", SanitiseWarning::implicitly_upgraded_disk},
            {"S6", "Connected Secondary/Secondary Inconsistent/Inconsistent",
             "StartingSyncS Secondary/Secondary Inconsistent/Inconsistent",
             "StartingSyncS Secondary/Secondary UpToDate/Inconsistent",
             SanitiseWarning::implicitly_upgraded_disk},
            {"S6", "Connected Secondary/Secondary UpToDate/Inconsistent",
             "StartingSyncT Secondary/Secondary UpToDate/Inconsistent",
             "StartingSyncT Secondary/Secondary Outdated/UpToDate",
             SanitiseWarning::implicitly_upgraded_pdsk},
            // A bad block under pass_on cannot lower the source's disk.
            {"S6", "SyncSource Secondary/Secondary UpToDate/Inconsistent",
             "SyncSource Secondary/Secondary Inconsistent/Inconsistent",
             "SyncSource Secondary/Secondary UpToDate/Inconsistent"},
        },
        connected_context());
}

TEST(Sanitise, S7AndS8) {
    StateContext stonith = connected_context();
    stonith.fencing = Fencing::resource_and_stonith;
    const char* up = "Connected Primary/Secondary UpToDate/UpToDate";
    const char* lost = "NetworkFailure Primary/Unknown UpToDate/DUnknown";
    expect_rows({{"S7", up, lost, "NetworkFailure Primary/Unknown UpToDate/DUnknown fen"},
                 {"S7", lost, "Unconnected Primary/Unknown UpToDate/DUnknown",
                  "Unconnected Primary/Unknown UpToDate/DUnknown"},
                 {"S7", up, "NetworkFailure Primary/Unknown UpToDate/Outdated",
                  "NetworkFailure Primary/Unknown UpToDate/Outdated"},
                 {"S7", "Connected Secondary/Secondary UpToDate/UpToDate",
                  "NetworkFailure Secondary/Unknown UpToDate/DUnknown",
                  "NetworkFailure Secondary/Unknown UpToDate/DUnknown"}},
                stonith);
    StateContext resource_only = stonith;
    resource_only.fencing = Fencing::resource_only;
    expect_rows({{"S7", up, lost, lost}}, resource_only);

    StateContext freeze = connected_context();
    freeze.on_no_data = OnNoData::suspend_io;
    const char* diskless = "Connected Primary/Secondary Diskless/UpToDate";
    const char* no_data = "NetworkFailure Primary/Unknown Diskless/DUnknown";
    expect_rows({{"S8", diskless, no_data, "NetworkFailure Primary/Unknown Diskless/DUnknown nod"},
                 {"S8", no_data, "Unconnected Primary/Unknown Diskless/DUnknown",
                  "Unconnected Primary/Unknown Diskless/DUnknown"}},
                freeze);
    expect_rows({{"S8", up, lost, lost},
                 {"S8", "Connected Secondary/Secondary Diskless/UpToDate", diskless, diskless}},
                freeze);
    expect_rows({{"S8", diskless, no_data, no_data}}, connected_context());
}

TEST(Sanitise, S9) {
    expect_rows(
        {
            {"S9", "SyncSource Secondary/Secondary UpToDate/Inconsistent",
             "SyncSource Secondary/Secondary UpToDate/Inconsistent peer",
             "PausedSyncS Secondary/Secondary UpToDate/Inconsistent peer"},
            {"S9", "SyncTarget Secondary/Secondary Inconsistent/UpToDate",
             "SyncTarget Secondary/Secondary Inconsistent/UpToDate user",
             "PausedSyncT Secondary/Secondary Inconsistent/UpToDate user"},
            {"S9", "WFSyncUUID Secondary/Secondary Outdated/UpToDate aftr",
             "SyncTarget Secondary/Secondary Outdated/UpToDate aftr",
             "PausedSyncT Secondary/Secondary Inconsistent/UpToDate aftr"},
            {"S9'", "PausedSyncS Secondary/Secondary UpToDate/Inconsistent peer",
             "PausedSyncS Secondary/Secondary UpToDate/Inconsistent",
             "SyncSource Secondary/Secondary UpToDate/Inconsistent"},
            {"S9'", "PausedSyncT Secondary/Secondary Inconsistent/UpToDate user",
             "PausedSyncT Secondary/Secondary Inconsistent/UpToDate",
             "SyncTarget Secondary/Secondary Inconsistent/UpToDate"},
            {"S9'", "PausedSyncT Secondary/Secondary Inconsistent/UpToDate user aftr",
             "PausedSyncT Secondary/Secondary Inconsistent/UpToDate aftr",
             "PausedSyncT Secondary/Secondary Inconsistent/UpToDate aftr"},
        },
        connected_context());
}

// ---- every state ------------------------------------------------------------------------------------------

// The table of S6 once more, in the words of the specification.
struct WindowText {
    std::string disk, pdsk;
};
WindowText window_text(ConnState conn) {
    static const std::map<std::string, WindowText> rows = {
        {"Connected", {"DU", "DU"}},     {"StartingSyncT", {"IO", "UU"}}, {"WFBitMapT", {"IO", "UU"}},
        {"WFSyncUUID", {"IO", "UU"}},    {"PausedSyncT", {"IO", "UU"}},   {"Behind", {"IO", "UU"}},
        {"StartingSyncS", {"UU", "IC"}}, {"WFBitMapS", {"UU", "IC"}},     {"PausedSyncS", {"UU", "IC"}},
        {"Ahead", {"UU", "IC"}},         {"SyncTarget", {"II", "UU"}},    {"SyncSource", {"UU", "II"}},
        {"VerifyS", {"UU", "UU"}},       {"VerifyT", {"UU", "UU"}},
    };
    if (conn < ConnState::connected) return {"DU", "I?"};
    return rows.at(std::string(wire::name_of(conn)));
}
bool is_within(DiskState disk, const std::string& window) {
    static const std::map<char, DiskState> letters = {
        {'I', DiskState::inconsistent}, {'O', DiskState::outdated}, {'C', DiskState::consistent},
        {'U', DiskState::up_to_date},   {'D', DiskState::diskless}, {'?', DiskState::d_unknown}};
    return letters.at(window[0]) <= disk && disk <= letters.at(window[1]);
}

bool holds_invariants(const State& s) {
    const WindowText window = window_text(s.conn);
    const bool i1 = is_within(s.disk, window.disk) && is_within(s.pdsk, window.pdsk);
    const bool known_without_peer =
        s.pdsk == DiskState::inconsistent || s.pdsk == DiskState::outdated || s.pdsk == DiskState::d_unknown;
    const bool i2 =
        s.conn >= ConnState::connected || (s.peer == Role::unknown && !s.peer_isp && known_without_peer);
    const bool running = s.conn == ConnState::sync_source || s.conn == ConnState::sync_target;
    const bool paused = s.conn == ConnState::paused_sync_s || s.conn == ConnState::paused_sync_t;
    const bool i3 = (!running || !has_isp(s)) && (!paused || has_isp(s));
    const bool i4 =
        s.conn <= ConnState::connected || (s.disk > DiskState::failed && s.pdsk > DiskState::failed);
    const bool i10 = s.disk != DiskState::negotiating || s.conn >= ConnState::connected;
    return i1 && i2 && i3 && i4 && i10 && s.disk != DiskState::d_unknown;
}

template <typename Visit>
void for_every_state(Visit visit) {
    for (unsigned role = 1; role <= 2; ++role)
        for (unsigned peer = 0; peer <= 2; ++peer)
            for (unsigned conn = 0; conn <= 23; ++conn)
                for (unsigned disk = 0; disk <= 8; ++disk)
                    for (unsigned pdsk = 0; pdsk <= 8; ++pdsk)
                        for (unsigned isp = 0; isp < 8; ++isp) {
                            if (static_cast<DiskState>(disk) == DiskState::d_unknown) continue;
                            visit(State{.role = static_cast<Role>(role),
                                        .peer = static_cast<Role>(peer),
                                        .conn = static_cast<ConnState>(conn),
                                        .disk = static_cast<DiskState>(disk),
                                        .pdsk = static_cast<DiskState>(pdsk),
                                        .aftr_isp = (isp & 1) != 0,
                                        .peer_isp = (isp & 2) != 0,
                                        .user_isp = (isp & 4) != 0});
                        }
}

TEST(Sanitise, EveryWantedStateBecomesAFixedPointWithTheInvariants) {
    StateContext plain = connected_context();
    StateContext all = {.fencing = Fencing::resource_and_stonith,
                        .on_no_data = OnNoData::suspend_io,
                        .net_configured = true,
                        .exposed_data_is_current = true,
                        .prepared_disk = DiskState::consistent,
                        .prepared_pdsk = DiskState::up_to_date};
    const State olds[] = {State{}, state("Connected Secondary/Secondary UpToDate/UpToDate"),
                          state("WFBitMapT Secondary/Primary Outdated/UpToDate"),
                          state("PausedSyncS Primary/Secondary UpToDate/Inconsistent user")};
    unsigned states = 0, failures = 0;
    for_every_state([&](const State& wanted) {
        for (const StateContext& context : {plain, all}) {
            for (const State& old_state : olds) {
                ++states;
                const State once = sanitise(old_state, wanted, context).state;
                const Sanitised twice = sanitise(once, once, context);
                if (holds_invariants(once) && twice.state == once && twice.warning == SanitiseWarning::none)
                    continue;
                if (++failures < 10) {
                    ADD_FAILURE() << "old " << words(old_state) << " wanted " << words(wanted) << " once "
                                  << words(once) << " twice " << words(twice.state);
                }
            }
        }
    });
    EXPECT_EQ(failures, 0u);
    EXPECT_EQ(states, 2u * 3 * 24 * 8 * 9 * 8 * 8);
}

// Whatever goes wrong with a disk or the link, no disk becomes UpToDate by it (I12), from any state that the
// rules can produce.
TEST(Sanitise, NoFailureMakesADiskUpToDate) {
    const StateContext context = connected_context();
    unsigned failures = 0;
    for_every_state([&](const State& wanted) {
        const State before = sanitise(wanted, wanted, context).state;
        if (before != wanted) return;
        const auto check = [&](State after_failure) {
            const State after = sanitise(before, after_failure, context).state;
            const bool own_raised =
                after.disk == DiskState::up_to_date && before.disk != DiskState::up_to_date;
            const bool peers_raised =
                after.pdsk == DiskState::up_to_date && before.pdsk != DiskState::up_to_date;
            if ((own_raised || peers_raised) && ++failures < 10)
                ADD_FAILURE() << words(before) << " became " << words(after);
        };
        for (const DiskState gone : {DiskState::failed, DiskState::diskless}) {
            State own = before, peers = before;
            own.disk = gone;
            peers.pdsk = gone;
            check(own);
            if (before.conn >= ConnState::connected) check(peers);
        }
        State link = before;
        link.conn = ConnState::network_failure;
        check(link);
    });
    EXPECT_EQ(failures, 0u);
}

// ---- 2.2, 2.6 ---------------------------------------------------------------------------------------------

ChangeDecision wish(const char* from, const char* to) {
    return check_change(state(from), state(to), connected_context(), ChangeKind::wish);
}

TEST(CheckChange, Order) {
    // Sanitised back to what it was: outdate while Connected.
    const ChangeDecision outdate = wish("Connected Secondary/Secondary UpToDate/UpToDate",
                                        "Connected Secondary/Secondary Outdated/UpToDate");
    EXPECT_EQ(outdate.result, R::nothing_to_do);
    EXPECT_EQ(words(outdate.state), words(state("Connected Secondary/Secondary UpToDate/UpToDate")));

    // A hard rule binds facts, too.
    EXPECT_EQ(check_change(state("Timeout Secondary/Unknown UpToDate/DUnknown"),
                           state("NetworkFailure Secondary/Unknown UpToDate/DUnknown"), connected_context(),
                           ChangeKind::fact)
                  .result,
              R::in_transient_state);

    // A soft one does not, and an unchanged conn is success.
    const char* both_bad = "Connected Secondary/Secondary Inconsistent/Inconsistent";
    const char* promoted = "Connected Primary/Secondary Inconsistent/Inconsistent";
    EXPECT_EQ(wish(both_bad, promoted).result, R::no_up_to_date_disk);
    EXPECT_EQ(check_change(state(both_bad), state(promoted), connected_context(), ChangeKind::fact).result,
              R::success);

    // Then the soft rules of the step.
    EXPECT_EQ(wish("Unconnected Secondary/Unknown UpToDate/DUnknown",
                   "Disconnecting Secondary/Unknown UpToDate/DUnknown")
                  .result,
              R::in_transient_state);
}

TEST(CheckChange, AsBadAsBeforeIsTolerated) {
    // A Primary that lost its data may still give up its network.
    const char* bad = "WFConnection Primary/Unknown Inconsistent/DUnknown";
    EXPECT_EQ(wish(bad, "Disconnecting Primary/Unknown Inconsistent/DUnknown").result, R::success);
    // But the check before a cluster-wide change does not tolerate it.
    const State from = state("Connected Primary/Secondary Inconsistent/Inconsistent");
    State to = from;
    to.conn = ConnState::disconnecting;
    EXPECT_EQ(check_cluster_wide(from, to, connected_context()).result, R::no_up_to_date_disk);
    EXPECT_EQ(check_cluster_wide(state("Connected Secondary/Secondary UpToDate/UpToDate"),
                                 state("Connected Primary/Secondary UpToDate/UpToDate"), connected_context())
                  .result,
              R::success);
}

// The kernel would silently call the disks UpToDate.
TEST(CheckChange, NoSilentUpgradeByInvalidateOrVerify) {
    const auto with_disks = [](const std::string& disks) {
        return state("Connected Secondary/Secondary " + disks);
    };
    const auto asked = [&](const std::string& disks, ConnState conn) {
        State wanted = with_disks(disks);
        wanted.conn = conn;
        return check_change(with_disks(disks), wanted, connected_context(), ChangeKind::wish).result;
    };
    using enum ConnState;
    EXPECT_EQ(asked("UpToDate/UpToDate", starting_sync_s), R::success);
    EXPECT_EQ(asked("UpToDate/Inconsistent", starting_sync_s), R::success);
    EXPECT_EQ(asked("Inconsistent/UpToDate", starting_sync_s), R::no_up_to_date_disk);
    EXPECT_EQ(asked("Inconsistent/Inconsistent", starting_sync_s), R::success);
    EXPECT_EQ(asked("UpToDate/UpToDate", starting_sync_t), R::success);
    EXPECT_EQ(asked("UpToDate/Inconsistent", starting_sync_t), R::no_up_to_date_disk);
    EXPECT_EQ(asked("Inconsistent/Inconsistent", starting_sync_t), R::success);
    for (const ConnState verify : {verify_s, verify_t}) {
        EXPECT_EQ(asked("UpToDate/UpToDate", verify), R::success);
        EXPECT_EQ(asked("Inconsistent/UpToDate", verify), R::no_up_to_date_disk);
        EXPECT_EQ(asked("UpToDate/Inconsistent", verify), R::no_up_to_date_disk);
        EXPECT_EQ(asked("Inconsistent/Inconsistent", verify), R::no_up_to_date_disk);
        EXPECT_EQ(asked("Diskless/UpToDate", verify), R::no_up_to_date_disk);
    }
    // During a resync the usual answer stays.
    EXPECT_EQ(wish("SyncTarget Secondary/Secondary Inconsistent/UpToDate",
                   "StartingSyncT Secondary/Secondary Inconsistent/UpToDate")
                  .result,
              R::resync_running);
}

TEST(ClusterWide, EveryRow) {
    const struct {
        const char* from;
        const char* to;
        bool cluster_wide;
    } rows[] = {
        {"Connected Secondary/Secondary UpToDate/UpToDate", "Connected Primary/Secondary UpToDate/UpToDate",
         true},
        {"WFConnection Secondary/Unknown UpToDate/DUnknown", "WFConnection Primary/Unknown UpToDate/DUnknown",
         false},
        {"Connected Primary/Secondary UpToDate/UpToDate", "Connected Secondary/Secondary UpToDate/UpToDate",
         false},
        {"Connected Secondary/Secondary UpToDate/UpToDate",
         "StartingSyncT Secondary/Secondary Outdated/UpToDate", true},
        {"Connected Secondary/Secondary UpToDate/UpToDate",
         "StartingSyncS Secondary/Secondary UpToDate/Consistent", true},
        {"Connected Secondary/Secondary UpToDate/UpToDate", "Connected Secondary/Secondary Failed/UpToDate",
         true},
        {"StandAlone Secondary/Unknown UpToDate/DUnknown", "StandAlone Secondary/Unknown Failed/DUnknown",
         false},
        {"Connected Secondary/Secondary UpToDate/UpToDate",
         "Disconnecting Secondary/Unknown UpToDate/DUnknown", true},
        {"Connected Secondary/Secondary UpToDate/UpToDate", "VerifyS Secondary/Secondary UpToDate/UpToDate",
         true},
        {"Connected Secondary/Secondary UpToDate/UpToDate", "VerifyT Secondary/Secondary UpToDate/UpToDate",
         false},
        {"Connected Secondary/Secondary Diskless/Diskless",
         "WFReportParams Secondary/Unknown Diskless/DUnknown", true},
        {"SyncSource Secondary/Secondary UpToDate/Inconsistent",
         "PausedSyncS Secondary/Secondary UpToDate/Inconsistent user", false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(is_cluster_wide(state(row.from), state(row.to)), row.cluster_wide)
            << row.from << " -> " << row.to;
}

TEST(Mirror, EveryRequestOfTheWire) {
    const struct {
        StateChangeRequest mine, peers;
    } rows[] = {
        {{0x00000003, 0x00000001}, {0x0000000c, 0x00000004}},  // role Primary: peer Primary
        {{0x00001e03, 0x00001001}, {0x0001e00c, 0x00010004}},  // and disk UpToDate: pdsk UpToDate
        {{0x0001e003, 0x0000a001}, {0x00001e0c, 0x00000a04}},  // and pdsk Outdated: disk Outdated
        {{0x000001f0, 0x000000c0}, {0x000001f0, 0x000000b0}},  // StartingSyncT: StartingSyncS
        {{0x000001f0, 0x000000b0}, {0x000001f0, 0x000000c0}},
        {{0x000001f0, 0x00000120}, {0x000001f0, 0x00000130}},  // VerifyS: VerifyT
        {{0x00001e00, 0x00000400}, {0x0001e000, 0x00004000}},  // disk Failed: pdsk Failed
        {{0x000001f0, 0x00000010}, {0x000001f0, 0x00000070}},  // Disconnecting: TearDown
        {{0x000001f0, 0x000000a0}, {0x000001f0, 0x000000a0}},  // Connected
        {{0x000001f0, 0x00000090}, {0x000001f0, 0x00000090}},  // WFReportParams
        {{0x000001f0, 0x00000100}, {0x000001f0, 0x00000000}},  // SyncSource: nothing
        {{0x00140000, 0x00100000}, {0x00080000, 0x00080000}},  // aftr_isp, user_isp: peer_isp
        {{0x00020000, 0x00020000}, {0x00000000, 0x00000000}},  // susp stays on its node
        {{0x00080000, 0x00080000}, {0x00000000, 0x00000000}},  // peer_isp is ours anyway
    };
    for (const auto& row : rows) EXPECT_EQ(mirror(row.mine), row.peers) << row.mine.mask;
}

TEST(Mirror, RequestsApply) {
    const State up = state("Connected Secondary/Secondary UpToDate/UpToDate");
    EXPECT_EQ(words(*with_request(up, mirror({0x1e03, 0x1001}))),
              words(state("Connected Secondary/Primary UpToDate/UpToDate")));
    EXPECT_EQ(words(*with_request(up, {0x1f0, 0x0b0})),
              words(state("StartingSyncS Secondary/Secondary UpToDate/UpToDate")));
    EXPECT_FALSE(with_request(up, {0x1f0, 0x1f0}));
}

// ---- 2.7, 4.2, 5.6, 9.3 -----------------------------------------------------------------------------------

TEST(SuperblockFlags, EveryRow) {
    namespace flag = meta::flag;
    const auto flags = [](const char* text, bool crashed = false, uint32_t old_flags = 0) {
        return superblock_flags(state(text), crashed, old_flags);
    };
    EXPECT_EQ(flags("WFConnection Secondary/Unknown Inconsistent/DUnknown"), 0u);
    EXPECT_EQ(flags("WFConnection Secondary/Unknown Outdated/DUnknown"), flag::consistent);
    EXPECT_EQ(flags("WFConnection Secondary/Unknown Consistent/DUnknown"),
              flag::consistent | flag::was_up_to_date);
    EXPECT_EQ(flags("WFReportParams Primary/Unknown UpToDate/Outdated"),
              flag::consistent | flag::was_up_to_date | flag::primary_ind | flag::peer_out_dated);
    EXPECT_EQ(flags("Connected Secondary/Primary UpToDate/Diskless"),
              flag::consistent | flag::was_up_to_date | flag::primary_ind | flag::connected_ind);
    EXPECT_EQ(flags("Connected Secondary/Primary UpToDate/UpToDate"),
              flag::consistent | flag::was_up_to_date | flag::connected_ind);
    EXPECT_EQ(flags("SyncSource Secondary/Primary UpToDate/Inconsistent"),
              flag::consistent | flag::was_up_to_date | flag::connected_ind | flag::peer_out_dated);
    EXPECT_EQ(flags("SyncTarget Secondary/Primary Inconsistent/UpToDate", true),
              flag::connected_ind | flag::crashed_primary);
    // al_clean goes, what does not follow the state stays, what does not hold any more is cleared.
    EXPECT_EQ(
        flags("WFConnection Secondary/Unknown Inconsistent/DUnknown", false, 0xffffffff),
        0xffffffff & ~(flag::consistent | flag::was_up_to_date | flag::primary_ind | flag::connected_ind |
                       flag::peer_out_dated | flag::crashed_primary | flag::al_clean));
}

TEST(StateAtAttach, EveryRow) {
    namespace flag = meta::flag;
    const uint32_t c = flag::consistent, u = flag::was_up_to_date, p = flag::peer_out_dated;
    const struct {
        uint32_t flags;
        Fencing fencing;
        const char* disk;
        const char* pdsk;
    } rows[] = {
        {0, Fencing::dont_care, "Inconsistent", "DUnknown"},
        {u, Fencing::resource_only, "Inconsistent", "DUnknown"},
        {p, Fencing::dont_care, "Inconsistent", "Outdated"},
        {c, Fencing::dont_care, "Outdated", "DUnknown"},
        {c | p, Fencing::resource_only, "Outdated", "Outdated"},
        {c | u, Fencing::dont_care, "UpToDate", "DUnknown"},
        {c | u, Fencing::resource_only, "Consistent", "DUnknown"},
        {c | u, Fencing::resource_and_stonith, "Consistent", "DUnknown"},
        {c | u | p, Fencing::resource_and_stonith, "UpToDate", "Outdated"},
        {c | u | p, Fencing::dont_care, "UpToDate", "Outdated"},
    };
    for (const auto& row : rows) {
        const AttachedState got = state_at_attach(row.flags, row.fencing, DiskState::d_unknown);
        EXPECT_EQ(wire::name_of(got.disk), row.disk) << row.flags;
        EXPECT_EQ(wire::name_of(got.pdsk), row.pdsk) << row.flags;
    }
}

TEST(ContactToPeerDataLost, EveryPair) {
    // Rows: old pdsk; columns: new pdsk, 0 to 8.
    const std::map<std::string, std::string> table = {
        {"Diskless", "........."},    {"Attaching", "........."},    {"Failed", "........."},
        {"Negotiating", "........."}, {"Inconsistent", "xxxx.xx.."}, {"Outdated", "........."},
        {"DUnknown", "x.x..x..."},    {"Consistent", "xxxx.xx.."},   {"UpToDate", "xxxx.xx.."},
    };
    for (const auto& [from, row] : table)
        for (unsigned to = 0; to <= 8; ++to)
            EXPECT_EQ(contact_to_peer_data_lost(disk_named(from), static_cast<DiskState>(to)), row[to] == 'x')
                << from << " -> " << wire::name_of(static_cast<DiskState>(to));
}

TEST(Replicate, EveryKindOfState) {
    const struct {
        const char* state;
        bool replicates, marks;
    } rows[] = {
        {"Connected Primary/Secondary UpToDate/UpToDate", true, false},
        {"Connected Primary/Secondary UpToDate/Inconsistent", false, false},
        {"Connected Primary/Secondary UpToDate/Diskless", false, false},
        {"WFConnection Primary/Unknown UpToDate/DUnknown", false, false},
        {"WFBitMapS Primary/Secondary UpToDate/Consistent", false, true},
        {"StartingSyncS Primary/Secondary UpToDate/Consistent", false, false},
        {"SyncSource Primary/Secondary UpToDate/Inconsistent", true, false},
        {"PausedSyncS Primary/Secondary UpToDate/Inconsistent user", true, false},
        {"SyncTarget Primary/Secondary Inconsistent/UpToDate", true, false},
        {"Ahead Primary/Secondary UpToDate/Consistent", false, true},
        {"VerifyS Primary/Secondary UpToDate/UpToDate", true, false},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(replicate(state(row.state)), row.replicates) << row.state;
        EXPECT_EQ(mark_and_tell(state(row.state)), row.marks) << row.state;
    }
}

// ---- 1.7, and the kernel's own logs -----------------------------------------------------------------------

TEST(Describe, Texts) {
    EXPECT_EQ(describe(state("Connected Primary/Secondary UpToDate/Inconsistent")),
              "{ cs:Connected ro:Primary/Secondary ds:UpToDate/Inconsistent r----- }");
    EXPECT_EQ(describe(state("PausedSyncS Secondary/Unknown UpToDate/DUnknown susp aftr peer user fen nod")),
              "{ cs:PausedSyncS ro:Secondary/Unknown ds:UpToDate/DUnknown sapuFN }");
    const State up = state("Connected Primary/Secondary UpToDate/UpToDate");
    const State frozen = state("NetworkFailure Primary/Unknown UpToDate/DUnknown fen");
    EXPECT_EQ(describe_change(up, frozen, true),
              "peer( Secondary -> Unknown ) conn( Connected -> NetworkFailure ) pdsk( UpToDate -> DUnknown ) "
              "susp( 0 -> 1 ) ");
    EXPECT_EQ(
        describe_change(up, frozen),
        "peer( Secondary -> Unknown ) conn( Connected -> NetworkFailure ) pdsk( UpToDate -> DUnknown ) ");
    EXPECT_EQ(describe_change(up, up), "");
}

// Every step that two kernels logged is one that these rules allow, ends in a fixed point, and is logged
// alike.
TEST(KernelLogs, EveryStateChangeFitsTheRules) {
    unsigned changes = 0;
    for (const auto& scenario : testing::golden_kernel_scenarios()) {
        for (const char* node : {"alpha", "beta"}) {
            SCOPED_TRACE(scenario.filename().string() + " " + node);
            State now;
            for (const auto& line :
                 testing::read_kernel_log(scenario / (std::string(node) + ".kernel.log"))) {
                if (line.module_loaded) now = State{};
                State next = now;
                if (!testing::follow_change(next, line.text)) continue;
                ++changes;
                EXPECT_EQ(describe_change(now, next), line.text);
                EXPECT_TRUE(wire::is_success(hard_rule(now, next))) << line.text;
                EXPECT_EQ(words(sanitise(now, next, connected_context()).state), words(next)) << line.text;
                now = next;
            }
        }
    }
    EXPECT_GT(changes, 500u);
}

}  // namespace
}  // namespace duplex::engine
