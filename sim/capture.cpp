#include "sim/capture.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <sstream>
#include <zlib.h>

#include <nlohmann/json.hpp>

namespace duplex::sim {

namespace fs = std::filesystem;

namespace {

constexpr std::array<const char*, 2> node_names{"alpha", "beta"};
constexpr uint64_t mib_sectors = (uint64_t{1} << 20) / sector_bytes;

Result<std::vector<uint8_t>> read_gz(const fs::path& path) {
    gzFile file = gzopen(path.c_str(), "rb");
    if (!file) return error("{}: cannot be opened", path.string());
    std::vector<uint8_t> bytes;
    std::array<uint8_t, 1 << 16> chunk{};
    int count = 0;
    while ((count = gzread(file, chunk.data(), chunk.size())) > 0)
        bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + count);
    gzclose(file);
    if (count < 0) return error("{}: cannot be unpacked", path.string());
    return bytes;
}

Result<std::string> read_text(const fs::path& path) {
    std::ifstream file(path);
    if (!file.good()) return error("{}: cannot be read", path.string());
    return std::string{std::istreambuf_iterator<char>(file), {}};
}

// "name { option value; option; }" of a captured configuration, which has one such section at most.
template <typename Options>
Status read_section(const std::string& conf, const std::string& name, Options& options) {
    std::smatch section;
    if (!std::regex_search(conf, section, std::regex("\\b" + name + R"(\s*\{([^}]*)\})"))) return Ok{};
    const std::string body = section[1].str();
    const std::regex statement(R"(\s*([a-z0-9-]+)\s*([^;]*);)");
    for (std::sregex_iterator at(body.begin(), body.end(), statement), end; at != end; ++at) {
        std::string value = (*at)[2].str();
        std::erase(value, '"');
        while (!value.empty() && value.back() == ' ') value.pop_back();
        if (Status set = config::set_option(options, (*at)[1].str(), value.empty() ? "yes" : value); !set)
            return set;
    }
    return Ok{};
}

struct Stretch {
    uint64_t time_us;
    uint64_t end_bytes;  // of the direction, so far
};
using Timeline = std::map<std::pair<unsigned, char>, std::vector<Stretch>>;

Timeline read_timeline(const std::vector<uint8_t>& text) {
    Timeline timeline;
    std::istringstream lines(std::string(text.begin(), text.end()));
    uint64_t time_us = 0, bytes = 0;
    unsigned stream = 0;
    char direction = 0;
    while (lines >> time_us >> stream >> direction >> bytes) {
        auto& stretches = timeline[{stream, direction}];
        stretches.push_back({time_us, bytes + (stretches.empty() ? 0 : stretches.back().end_bytes)});
    }
    return timeline;
}

uint64_t time_of(const std::vector<Stretch>& stretches, uint64_t byte) {
    const auto found = std::upper_bound(stretches.begin(), stretches.end(), byte,
                                        [](uint64_t b, const Stretch& s) { return b < s.end_bytes; });
    return found == stretches.end() ? stretches.back().time_us : found->time_us;
}

wire::Socket channel_of(const std::vector<uint8_t>& from_opener) {
    const auto header = wire::decode_header(wire::HeaderFormat::header80, std::span(from_opener).first(8));
    return header && header->command == wire::Command::initial_data ? wire::Socket::data : wire::Socket::meta;
}

std::string state_words(const std::string& proc) {
    std::smatch found;
    return std::regex_search(proc, found, std::regex(R"(cs:\S+ ro:\S+ ds:\S+)")) ? found[0].str()
                                                                                 : std::string();
}

}  // namespace

std::span<const uint8_t> WirePacket::body() const {
    return std::span(bytes).subspan(head_bytes);
}

std::span<const uint8_t> WirePacket::variable() const {
    return std::span(bytes).subspan(head_bytes + info.fixed_bytes + info.digest_bytes);
}

// ---- one direction
// -------------------------------------------------------------------------------------------------

StreamSplitter::StreamSplitter(wire::Socket channel, const config::NetOptions& net, bool sender_opened)
    : channel_(channel), authenticates_(!net.cram_hmac_alg.empty()), reader_(channel) {
    const auto digest_bytes = [](const std::string& name) {
        const auto algorithm = digest_from_name(name);
        return algorithm ? static_cast<uint8_t>(digest_size_bytes(*algorithm)) : uint8_t{0};
    };
    // Both nodes of every capture announce all features, and so does the engine.
    agreement_.features = wire::feature::all;
    agreement_.integrity_digest_bytes = digest_bytes(net.data_integrity_alg);
    agreement_.csums_digest_bytes = digest_bytes(net.csums_alg);
    agreement_.verify_digest_bytes = digest_bytes(net.verify_alg);
    agreement_.auth_digest_bytes = digest_bytes(net.cram_hmac_alg);
    agreement_.phase = sender_opened                   ? wire::Phase::first_packet
                       : channel == wire::Socket::data ? wire::Phase::features
                                                       : wire::Phase::established;
    reader_.set_agreement(agreement_);
}

wire::Phase StreamSplitter::phase_after(wire::Command command) const {
    switch (command) {
        case wire::Command::initial_data:
            return wire::Phase::features;
        case wire::Command::connection_features:
            return authenticates_ ? wire::Phase::auth_challenge : wire::Phase::protocol;
        case wire::Command::auth_challenge:
            return wire::Phase::auth_response;
        case wire::Command::auth_response:
            return wire::Phase::protocol;
        case wire::Command::initial_meta:
        case wire::Command::protocol:
            return wire::Phase::established;
        default:
            return agreement_.phase;
    }
}

Status StreamSplitter::feed(std::span<const uint8_t> bytes) {
    using Event = wire::PacketReader::Event;
    while (!bytes.empty()) {
        const auto fed = reader_.feed(bytes);
        if (!fed) return fed.error();
        current_.insert(current_.end(), bytes.begin(),
                        bytes.begin() + static_cast<long>(fed->consumed_bytes));
        bytes = bytes.subspan(fed->consumed_bytes);
        if (fed->event == Event::head) {
            data_.resize(reader_.info().variable_bytes);
            reader_.set_data_buffer(data_);
        }
        if (fed->event != Event::packet) continue;
        WirePacket& packet = packets_.emplace_back();
        packet.channel = channel_;
        packet.info = reader_.info();
        packet.bytes = std::exchange(current_, {});
        packet.head_bytes = packet.bytes.size() - packet.info.header.length;
        if (const wire::Phase next = phase_after(packet.command()); next != agreement_.phase) {
            agreement_.phase = next;
            reader_.set_agreement(agreement_);
        }
    }
    return Ok{};
}

// ---- a folder
// ------------------------------------------------------------------------------------------------------

Result<Capture> read_capture(const fs::path& folder) {
    Capture capture;
    capture.name = folder.filename();
    capture.disk_sectors = (capture.name == "invalidate-pause" ? 64 : 16) * mib_sectors;
    for (const size_t side : {size_t{0}, size_t{1}}) {
        auto conf = read_text(folder / fmt::format("{}.conf", node_names[side]));
        if (!conf) return conf.error();
        // The resource's own disk section stands before the hosts, whose "disk" is a path.
        if (const Status net = read_section(*conf, "net", capture.nodes[side].net); !net) return net.error();
        if (const Status disk = read_section(*conf, "disk", capture.nodes[side].disk); !disk)
            return disk.error();
    }
    const auto steps_text = read_text(folder / "steps.json");
    const auto streams_text = read_text(folder / "streams.json");
    const auto timeline_text = read_gz(folder / "timeline.gz");
    if (!steps_text) return steps_text.error();
    if (!streams_text) return streams_text.error();
    if (!timeline_text) return timeline_text.error();
    const auto log = nlohmann::json::parse(*steps_text);
    for (const auto& step : log.at("steps")) {
        if (!step.contains("cmd")) continue;
        capture.steps.push_back({step.at("node") == "alpha" ? 0u : 1u, step.at("cmd")});
    }
    for (const size_t side : {size_t{0}, size_t{1}})
        capture.nodes[side].final_state = state_words(log.at("final").at(node_names[side]).at("proc"));

    const Timeline timeline = read_timeline(*timeline_text);
    for (const auto& stream : nlohmann::json::parse(*streams_text)) {
        const unsigned opener = stream.at("opener").get<std::string>().starts_with("10.78.0.11:") ? 0 : 1;
        const unsigned number = stream.at("stream");
        for (const unsigned direction : {0u, 1u}) {
            const auto bytes = read_gz(folder / stream.at("files")[direction].at("file").get<std::string>());
            if (!bytes) return bytes.error();
            static wire::Socket channel;
            if (direction == 0) {
                channel = channel_of(*bytes);
                if (channel == wire::Socket::data) capture.sessions.emplace_back();
                if (capture.sessions.empty()) return error("{}: begins with a meta socket", folder.string());
                capture.sessions.back().opener[static_cast<size_t>(channel)] = opener;
            }
            const unsigned sender = direction == 0 ? opener : 1 - opener;
            StreamSplitter splitter(channel, capture.nodes[sender].net, direction == 0);
            if (const Status split = splitter.feed(*bytes); !split)
                return error("{}: stream {}: {}", folder.string(), number, split.error().text);
            const auto stretches = timeline.find({number, direction == 0 ? 'o' : 'a'});
            uint64_t at = 0;
            for (WirePacket& packet : splitter.take()) {
                Capture::Packet& added = capture.sessions.back().packets.emplace_back();
                added.sender = sender;
                added.stream = number;
                added.first_byte_us = time_of(stretches->second, at);
                at += packet.bytes.size();
                added.last_byte_us = time_of(stretches->second, at - 1);
                added.wire = std::move(packet);
            }
        }
    }
    return capture;
}

}  // namespace duplex::sim
