// Every capture of two kernels, played with the engine in the part of either.
#include "sim/transcript.hpp"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

namespace duplex::sim {
namespace {

namespace fs = std::filesystem;

const fs::path captures = fs::path(DUPLEX_SOURCE_DIR) / "tests/golden/wire";

std::vector<std::string> scenarios() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(captures))
        if (entry.is_directory()) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

class Transcripts : public testing::TestWithParam<std::tuple<std::string, unsigned>> {};

TEST_P(Transcripts, TheEngineSaysWhatTheKernelSaid) {
    const auto& [name, side] = GetParam();
    const auto capture = read_capture(captures / name);
    ASSERT_TRUE(capture) << capture.error().text;
    Transcript transcript(*capture, side);
    const bool played = transcript.play();
    RecordProperty("compared", static_cast<int>(transcript.compared()));
    if (!played) transcript.journal().print(stdout);
    EXPECT_TRUE(played) << transcript.failure() << " (after " << transcript.compared() << " packets)";
    EXPECT_EQ(transcript.cut_short(), name == "dual-conflict");
    EXPECT_GT(transcript.compared(), transcript.cut_short() ? 300u : 3u);
}

// Of the fixed part: one that neither is a name (UUID) nor comes to the engine from the capture itself (the
// place and the data of a write).
size_t telling_byte(wire::Command command) {
    switch (command) {
        case wire::Command::data:
        case wire::Command::trim:
        case wire::Command::zeroes:
            return 19;  // seq_num
        case wire::Command::uuids:
            return 39;  // number of bits set
        default:
            return 2;
    }
}

// A byte of what one node said is another one: the play with the engine in its part fails.
class ChangedByte : public testing::TestWithParam<wire::Command> {};

TEST_P(ChangedByte, IsNoticed) {
    auto capture = read_capture(captures / "writes");
    ASSERT_TRUE(capture) << capture.error().text;
    const auto of_kind = [](const Capture::Packet& packet) { return packet.wire.command() == GetParam(); };
    auto& packets = capture->sessions.front().packets;
    // The last of the kind, so that it is not the first packet that fails.
    const auto changed = std::find_if(packets.rbegin(), packets.rend(), of_kind);
    ASSERT_NE(changed, packets.rend());
    changed->wire.bytes[changed->wire.head_bytes + telling_byte(GetParam())] ^= 1;
    Transcript transcript(*capture, changed->sender);
    EXPECT_FALSE(transcript.play());
    EXPECT_NE(transcript.failure().find(wire::name_of(GetParam())), std::string::npos)
        << transcript.failure();
}

INSTANTIATE_TEST_SUITE_P(Wire, ChangedByte,
                         testing::Values(wire::Command::data, wire::Command::trim, wire::Command::zeroes,
                                         wire::Command::uuids, wire::Command::state, wire::Command::protocol,
                                         wire::Command::sizes, wire::Command::state_chg_req,
                                         wire::Command::compressed_bitmap, wire::Command::auth_response,
                                         wire::Command::barrier_ack, wire::Command::write_ack,
                                         wire::Command::rs_data_request, wire::Command::rs_data_reply),
                         [](const auto& info) { return std::string(wire::name_of(info.param)); });

INSTANTIATE_TEST_SUITE_P(Wire, Transcripts,
                         testing::Combine(testing::ValuesIn(scenarios()), testing::Values(0u, 1u)),
                         [](const auto& info) {
                             std::string name = std::get<0>(info.param) +
                                                (std::get<1>(info.param) == 0 ? "_alpha" : "_beta");
                             std::ranges::replace(name, '-', '_');
                             return name;
                         });

}  // namespace
}  // namespace duplex::sim
