// The texts that a node of two kernels printed, from what they say: every device of every step of the wire
// captures, and the four outputs at the end of each.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "control/events_text.hpp"
#include "control/proc_text.hpp"
#include "control/show_text.hpp"
#include "control/status_text.hpp"

namespace duplex::control {
namespace {

template <typename Enum>
Enum named(const std::string& name, int count) {
    for (int i = 0; i < count; ++i) {
        if (wire::name_of(static_cast<Enum>(i)) == name) return static_cast<Enum>(i);
    }
    ADD_FAILURE() << "no state is called " << name;
    return Enum{};
}

uint64_t number(const std::string& digits) {
    std::string plain = digits;
    std::erase(plain, ',');
    return std::stoull(plain);
}

const std::regex device_line(
    R"( *(\d+): cs:(\w+) ro:(\w+)/(\w+) ds:(\w+)/(\w+) ([ABC ]) ([rs])([a-])([p-])([u-])-([s-]))");
const std::regex counter_line(
    R"(    ns:(\d+) nr:(\d+) dw:(\d+) dr:(\d+) al:(\d+) bm:(\d+) lo:(\d+) pe:(\d+) ua:(\d+) ap:(\d+) ep:(\d+) wo:(\w) oos:(\d+))");
const std::regex bar_line(R"(\t\[=*>\.*\] (sync'ed|verified): +\d+\.\d% \((\d+)/(\d+)\)K)");
const std::regex speed_line(
    R"(\tfinish: (\d+):(\d+):(\d+) speed: ([\d,]+) \(([\d,]+)\)(?: want: ([\d,]+))? K/sec)");

struct Parsed {
    engine::ResourceStatus resource;
    std::string text;  // the device's lines
    std::string finish;
};

void parse_counters(const std::smatch& match, engine::VolumeStatus& volume) {
    engine::VolumeCounters& counters = volume.counters;
    counters.sent_kib = number(match[1]);
    counters.received_kib = number(match[2]);
    counters.written_kib = number(match[3]);
    counters.read_kib = number(match[4]);
    counters.al_writes = number(match[5]);
    counters.bitmap_writes = number(match[6]);
    counters.local_pending = static_cast<uint32_t>(number(match[7]));
    counters.peer_pending = static_cast<uint32_t>(number(match[8]));
    counters.unacked = static_cast<uint32_t>(number(match[9]));
    counters.app_pending = static_cast<uint32_t>(number(match[10]));
    volume.epochs = static_cast<uint32_t>(number(match[11]));
    volume.write_ordering = match[12] == "f"   ? engine::WriteOrdering::flush
                            : match[12] == "d" ? engine::WriteOrdering::drain
                                               : engine::WriteOrdering::none;
    volume.out_of_sync_bits = number(match[13]) / 4;
}

void parse_device(const std::smatch& match, engine::ResourceStatus& resource) {
    engine::VolumeStatus volume;
    volume.minor = static_cast<unsigned>(number(match[1]));
    volume.state.conn = named<wire::ConnState>(match[2], 24);
    volume.state.role = named<wire::Role>(match[3], 3);
    volume.state.peer = named<wire::Role>(match[4], 3);
    volume.state.disk = named<wire::DiskState>(match[5], 9);
    volume.state.pdsk = named<wire::DiskState>(match[6], 9);
    resource.connection.configured = match[7] != " ";
    if (resource.connection.configured) {
        resource.connection.options.protocol = static_cast<config::Protocol>(match[7].str()[0] - 'A' + 1);
    }
    resource.connection.state = std::min(volume.state.conn, wire::ConnState::wf_report_params);
    volume.state.susp = match[8] == "s";
    volume.state.aftr_isp = match[9] == "a";
    volume.state.peer_isp = match[10] == "p";
    volume.state.user_isp = match[11] == "u";
    volume.al_suspended = match[12] == "s";
    resource.volumes.push_back(volume);
}

// The kernel does not print how old its mark is, nor since when the resync runs: the lines must come out for
// some figures that give the printed speeds.
void find_times(const std::string& expected, uint64_t average_kib, uint64_t present_kib,
                wire::ConnState state, engine::SyncProgress& sync) {
    constexpr uint64_t day_s = 86400;
    sync.now_ms = day_s * 1000;
    uint64_t running_s = 1;
    while (running_s < day_s && (sync.total_bits - sync.left_bits) / running_s * 4 != average_kib)
        ++running_s;
    sync.started_ms = sync.now_ms - running_s * 1000;
    for (uint64_t age_s = 1; age_s <= 30; ++age_s) {
        sync.mark_ms = sync.now_ms - age_s * 1000;
        for (uint64_t rest = 0; rest < age_s; ++rest) {
            sync.mark_left_bits = sync.left_bits + present_kib / 4 * age_s + rest;
            if (progress_lines(progress_numbers(sync, state)) == expected) return;
        }
    }
    ADD_FAILURE() << "no age of the mark gives\n" << expected;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

// Every device text in what a step printed, as far as it goes.
std::vector<Parsed> parse(const std::string& output) {
    std::vector<Parsed> devices;
    const std::vector<std::string> lines = lines_of(output);
    for (size_t i = 0; i + 1 < lines.size(); ++i) {
        std::smatch match;
        if (!std::regex_match(lines[i], match, device_line)) continue;
        Parsed parsed;
        parsed.resource.name = "r0";
        parse_device(match, parsed.resource);
        engine::VolumeStatus& volume = parsed.resource.volumes[0];
        if (!std::regex_match(lines[i + 1], match, counter_line)) {
            ADD_FAILURE() << lines[i + 1];
            continue;
        }
        parse_counters(match, volume);
        parsed.text = lines[i] + '\n' + lines[i + 1] + '\n';
        if (i + 3 < lines.size() && std::regex_match(lines[i + 2], match, bar_line)) {
            engine::SyncProgress& sync = volume.sync.emplace();
            sync.verify = match[1] == "verified";
            sync.left_bits = number(match[2]) / 4;
            sync.total_bits = number(match[3]) / 4;
            const std::string expected = lines[i + 2] + '\n' + lines[i + 3] + '\n';
            EXPECT_TRUE(std::regex_match(lines[i + 3], match, speed_line)) << lines[i + 3];
            if (match[6].matched) sync.wanted_kib = number(match[6]);
            find_times(expected, number(match[5]), number(match[4]), volume.state.conn, sync);
            parsed.text += expected;
        }
        devices.push_back(std::move(parsed));
    }
    return devices;
}

std::vector<std::filesystem::path> captures() {
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(DUPLEX_SOURCE_DIR "/tests/golden/wire")) {
        if (std::filesystem::exists(entry.path() / "steps.json")) folders.push_back(entry.path());
    }
    std::ranges::sort(folders);
    return folders;
}

nlohmann::json steps_of(const std::filesystem::path& folder) {
    std::ifstream file(folder / "steps.json");
    return nlohmann::json::parse(file);
}

TEST(GoldenText, EveryDeviceOfEveryStep) {
    size_t devices = 0;
    size_t with_progress = 0;
    for (const auto& folder : captures()) {
        SCOPED_TRACE(folder.filename().string());
        const nlohmann::json steps = steps_of(folder);
        for (const auto& step : steps["steps"]) {
            for (const Parsed& parsed : parse(step.value("out", ""))) {
                ++devices;
                with_progress += parsed.resource.volumes[0].sync.has_value() ? 1 : 0;
                EXPECT_EQ(proc_device_text(parsed.resource, parsed.resource.volumes[0]), parsed.text);
            }
        }
    }
    EXPECT_GT(devices, 100u);
    EXPECT_GE(with_progress, 15u);
}

std::string value_of(const std::string& text, const std::string& name) {
    std::smatch match;
    const std::regex pattern("\\b" + name + ":(\\S+)");
    return std::regex_search(text, match, pattern) ? match[1].str() : std::string();
}

engine::Endpoint endpoint_in(const std::string& show, const std::string& section) {
    std::smatch match;
    const std::regex pattern(section + R"( \{\s+address\s+(\w+) ([\d.]+):(\d+);)");
    if (!std::regex_search(show, match, pattern)) return {};
    return {match[1], match[2], static_cast<uint16_t>(number(match[3]))};
}

// The options that "show" printed, through the option table.
template <typename Options>
void read_options(const std::string& show, const std::string& section, Options& options) {
    std::smatch match;
    const std::regex pattern("\\n( *)" + section + R"( \{\n([^}]*)\})");
    if (!std::regex_search(show, match, pattern)) return;
    for (const std::string& line : lines_of(match[2])) {
        if (line.find_first_not_of(' ') == std::string::npos) continue;
        std::smatch option;
        ASSERT_TRUE(std::regex_match(line, option, std::regex(R"( +([\w-]+) *\t("?)(.*)\2;(?: #.*)?)")))
            << line;
        const Status set = config::set_option(options, option[1].str(), option[3].str());
        ASSERT_TRUE(set.ok()) << set.error().text;
    }
}

class GoldenFinal : public testing::TestWithParam<std::string> {};

// One volume with the number 0, as in all captures.
engine::ResourceStatus status_from(const nlohmann::json& final) {
    const std::string proc = final["proc"];
    const std::string status = final["status"];
    const std::string show = final["show"];
    std::vector<Parsed> devices = parse(proc);
    if (devices.empty()) return {};
    engine::ResourceStatus resource = std::move(devices[0].resource);
    engine::VolumeStatus& volume = resource.volumes[0];
    volume.size_sectors = number(value_of(status, "size")) * 2;
    resource.connection.local = endpoint_in(show, "_this_host");
    resource.connection.peer = endpoint_in(show, "_remote_host");
    read_options(show, "net", resource.connection.options);
    std::smatch disk;
    if (std::regex_search(show, disk, std::regex(R"(disk\t\t\t"(.*)\";)"))) {
        volume.disk.emplace();
        volume.disk->data_path = disk[1];
        read_options(show, "disk", volume.disk->options);
    }
    return resource;
}

TEST(GoldenText, FinalOutputsOfBothNodes) {
    size_t nodes = 0;
    for (const auto& folder : captures()) {
        const nlohmann::json steps = steps_of(folder);
        for (const auto& [node, final] : steps["final"].items()) {
            SCOPED_TRACE(folder.filename().string() + " " + node);
            const engine::ResourceStatus resource = status_from(final);
            if (resource.volumes.empty()) continue;
            ++nodes;
            EXPECT_EQ(status_text(resource, {.verbose = true, .statistics = true}),
                      final["status"].get<std::string>());
            EXPECT_EQ(show_text(resource, false), final["show"].get<std::string>());
            Events2Printer printer({.timestamps = false, .statistics = true});
            EXPECT_EQ(printer.print(StatusEvent{0, resource}, true) + printer.end_of_initial_dump(0),
                      final["events2"].get<std::string>());
        }
    }
    EXPECT_GT(nodes, 20u);
}

}  // namespace
}  // namespace duplex::control
