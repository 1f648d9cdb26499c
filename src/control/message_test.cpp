#include "control/message.hpp"

#include <gtest/gtest.h>

#include "control/endpoint.hpp"
#include "control/test_status.hpp"

namespace duplex::control {
namespace {

std::string_view without_end(const std::string& line) {
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    return std::string_view(line).substr(0, line.size() - 1);
}

TEST(Message, RequestThereAndBack) {
    const Request request{.command = "attach",
                          .minor = 7,
                          .arguments = {"/dev/s\"db\n1", "/dev/sdb1", "internal"},
                          .options = {{"resync-rate", "10M"}, {"al-extents", "257"}}};
    const Result<Request> read = decode_request(without_end(encode(request)));
    ASSERT_TRUE(read.ok()) << read.error().text;
    EXPECT_EQ(*read, request);
    const Request bare{.command = "status", .minor = -1, .arguments = {}, .options = {}};
    EXPECT_EQ(encode(bare), "{\"command\":\"status\"}\n");
    EXPECT_EQ(*decode_request(R"({"command":"status"})"), bare);
}

TEST(Message, BadRequestsAreNamed) {
    for (const auto& [line, word] : std::initializer_list<std::pair<const char*, const char*>>{
             {"", "no JSON"},
             {"{", "no JSON"},
             {"\xff\xfe", "no JSON"},
             {"[]", "no JSON object"},
             {"{}", "no \"command\""},
             {R"({"command":7})", "type must be string"},
             {R"({"command":"x","minor":-1})", "minor"},
             {R"({"command":"x","minor":2000000})", "minor"},
             {R"({"command":"x","minor":"0"})", "minor"},
             {R"({"command":"x","arguments":{"a":1}})", "type must be array"},
             {R"({"command":"x","options":{"a":1}})", "type must be string"},
             {R"({"command":"x","option":{}})", "unknown member \"option\""},
         }) {
        const Result<Request> read = decode_request(line);
        ASSERT_FALSE(read.ok()) << line;
        EXPECT_NE(read.error().text.find(word), std::string::npos) << read.error().text;
    }
}

TEST(Message, StatusThereAndBack) {
    engine::ResourceStatus status = test_resource();
    status.options.cpu_mask = "f0";
    status.connection.options.after_sb_0pri = config::AfterSplitBrain::discard_zero_changes;
    status.connection.options.shared_secret = "s3\"cret";
    status.connection.peer_node = "beta";
    status.connection.agreed_protocol = 101;
    status.volumes.push_back(engine::VolumeStatus{});
    engine::VolumeStatus& volume = status.volumes[0];
    volume.state.susp_nod = true;
    volume.counters.sent_kib = uint64_t{1} << 40;
    volume.counters.app_pending = 3;
    volume.al_suspended = true;
    volume.openers = 2;
    volume.write_ordering = engine::WriteOrdering::drain;
    volume.sync.emplace();
    volume.sync->wanted_kib = 250;
    volume.sync->mark_left_bits = 77;
    volume.disk->options.resync_after = -1;
    volume.disk->options.fencing = config::Fencing::resource_only;
    volume.disk->current_uuid = 0xFFFFFFFFFFFFFFFE;
    volume.disk->meta_index = -2;
    const std::string line = encode_status(status);
    const Result<engine::ResourceStatus> read = decode_status(without_end(line));
    ASSERT_TRUE(read.ok()) << read.error().text;
    // Nothing got lost: it is written the same again.
    EXPECT_EQ(encode_status(*read), line);
    EXPECT_EQ(read->connection.options, status.connection.options);
    EXPECT_EQ(read->volumes[0].disk->options, volume.disk->options);
    EXPECT_EQ(read->volumes[0].disk->current_uuid, volume.disk->current_uuid);
    EXPECT_EQ(read->volumes[0].state, volume.state);
    EXPECT_FALSE(read->volumes[1].disk.has_value());
}

TEST(Message, BadStatusIsRefused) {
    for (const char* line : {
             R"({"status":{"volumes":[{"minor":-1}]}})",
             R"({"status":{"volumes":[{"state":4294967295}]}})",
             R"({"status":{"volumes":[{"write_ordering":9}]}})",
             R"({"status":{"connection":{"state":24}}})",
             R"({"status":{"connection":{"local":{"port":65536}}}})",
             R"({"status":{"volumes":7}})",
             R"({"reply":{}})",
         }) {
        EXPECT_FALSE(decode_status(line).ok()) << line;
    }
}

TEST(Message, EventsThereAndBack) {
    const HelperEvent helper{12345, "fence-peer", -1, 1024};
    const Result<Event> read = decode_event(without_end(encode(Event{helper})));
    ASSERT_TRUE(read.ok()) << read.error().text;
    EXPECT_EQ(std::get<HelperEvent>(*read).wait_status, 1024);
    EXPECT_EQ(std::get<HelperEvent>(*read).helper, "fence-peer");
    EXPECT_FALSE(decode_event(R"({"event":"nonsense"})").ok());
    const Result<Event> skipped = decode_event(without_end(encode(Event{SkippedEvents{4}})));
    ASSERT_TRUE(skipped.ok());
    EXPECT_EQ(std::get<SkippedEvents>(*skipped).count, 4u);
}

TEST(Endpoint, Forms) {
    struct Case {
        const char* text;
        engine::Endpoint endpoint;
        const char* note;
    };
    for (const Case& c : {
             Case{"10.0.0.1", {"ipv4", "10.0.0.1", 7788}, ""},
             Case{"10.0.0.1:7799", {"ipv4", "10.0.0.1", 7799}, ""},
             Case{"ipv4:10.0.0.1:7799", {"ipv4", "10.0.0.1", 7799}, ""},
             Case{"ipv6:[fe80::1]:7788", {"ipv6", "fe80::1", 7788}, ""},
             Case{"ipv6:[fe80::1]", {"ipv6", "fe80::1", 7788}, ""},
             Case{"ipv6:fe80::1:7789",
                  {"ipv6", "fe80::1", 7789},
                  "interpreting ipv6:fe80::1:7789 as ipv6:[fe80::1]:7789"},
             Case{"ssocks:10.0.0.1:1", {"ssocks", "10.0.0.1", 1}, ""},
         }) {
        const Result<ParsedEndpoint> parsed = parse_endpoint(c.text);
        ASSERT_TRUE(parsed.ok()) << parsed.error().text;
        EXPECT_EQ(parsed->endpoint, c.endpoint) << c.text;
        EXPECT_EQ(parsed->note, c.note);
        EXPECT_EQ(parse_endpoint(endpoint_text(c.endpoint))->endpoint, c.endpoint);
    }
    for (const char* text :
         {"", "ipv4:", "10.0.0.1:x", "10.0.0.1:70000", "ipv6:[fe80::1", "ipv6:[fe80::1]x", ":1"}) {
        EXPECT_FALSE(parse_endpoint(text).ok()) << text;
    }
}

}  // namespace
}  // namespace duplex::control
