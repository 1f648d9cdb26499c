// For the tests of the rules: states written as text, and the kernel's log lines read back.
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "engine/states.hpp"

namespace duplex::engine::testing {

template <typename Enum>
std::optional<Enum> find_named(std::string_view name, unsigned count) {
    for (unsigned value = 0; value < count; ++value)
        if (wire::name_of(static_cast<Enum>(value)) == name) return static_cast<Enum>(value);
    return std::nullopt;
}

template <typename Enum>
Enum named(std::string_view name, unsigned count) {
    const std::optional<Enum> found = find_named<Enum>(name, count);
    EXPECT_TRUE(found) << "no such name: " << name;
    return found.value_or(Enum{});
}

inline Role role_named(std::string_view name) {
    return named<Role>(name, 3);
}
inline ConnState conn_named(std::string_view name) {
    return named<ConnState>(name, 24);
}
inline DiskState disk_named(std::string_view name) {
    return named<DiskState>(name, 9);
}

inline std::pair<std::string, std::string> halves(const std::string& text) {
    const size_t slash = text.find('/');
    EXPECT_NE(slash, std::string::npos) << text;
    return {text.substr(0, slash), text.substr(slash + 1)};
}

// "Connected Primary/Secondary UpToDate/Inconsistent", then any of: susp aftr peer user nod fen.
inline State state(const std::string& text) {
    std::istringstream words(text);
    std::string conn, roles, disks, flag;
    words >> conn >> roles >> disks;
    State s;
    s.conn = conn_named(conn);
    s.role = role_named(halves(roles).first);
    s.peer = role_named(halves(roles).second);
    s.disk = disk_named(halves(disks).first);
    s.pdsk = disk_named(halves(disks).second);
    while (words >> flag) {
        if (flag == "susp") {
            s.susp = true;
        } else if (flag == "aftr") {
            s.aftr_isp = true;
        } else if (flag == "peer") {
            s.peer_isp = true;
        } else if (flag == "user") {
            s.user_isp = true;
        } else if (flag == "nod") {
            s.susp_nod = true;
        } else if (flag == "fen") {
            s.susp_fen = true;
        } else {
            ADD_FAILURE() << "no such flag: " << flag;
        }
    }
    return s;
}

// ---- the kernel's log -------------------------------------------------------------------------------------

struct LogLine {
    bool of_volume = false;      // "block drbd0: ...", else "drbd r0: ..." and the like
    std::string text;            // without time and prefix
    bool module_loaded = false;  // a new boot
};

inline std::vector<LogLine> read_kernel_log(const std::filesystem::path& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file) << path;
    std::vector<LogLine> lines;
    std::string line;
    while (std::getline(file, line)) {
        const size_t time_end = line.find("] ");
        const size_t prefix_end = line.find(": ");
        if (time_end == std::string::npos || prefix_end == std::string::npos) continue;
        const std::string prefix = line.substr(time_end + 2, prefix_end - time_end - 2);
        if (!prefix.starts_with("drbd") && !prefix.starts_with("block drbd")) continue;
        const std::string text = line.substr(prefix_end + 2);
        lines.push_back({.of_volume = prefix.starts_with("block"),
                         .text = text,
                         .module_loaded = text.starts_with("initialized. Version")});
    }
    return lines;
}

inline std::vector<std::filesystem::path> golden_kernel_scenarios() {
    std::vector<std::filesystem::path> found;
    const std::filesystem::path folder = std::filesystem::path(DUPLEX_SOURCE_DIR) / "tests/golden/wire";
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (std::filesystem::exists(entry.path() / "alpha.kernel.log")) found.push_back(entry.path());
    return found;
}

template <typename Value, typename Parse>
void step(Value& value, const std::string& from, const std::string& to, Parse parse) {
    EXPECT_EQ(value, parse(from)) << from << " -> " << to;
    value = parse(to);
}

inline void step_field(State& s, const std::string& field, const std::string& from, const std::string& to) {
    const auto parse_flag = [](const std::string& word) { return word == "1"; };
    if (field == "role(") {
        step(s.role, from, to, role_named);
    } else if (field == "peer(") {
        step(s.peer, from, to, role_named);
    } else if (field == "conn(") {
        step(s.conn, from, to, conn_named);
    } else if (field == "disk(") {
        step(s.disk, from, to, disk_named);
    } else if (field == "pdsk(") {
        step(s.pdsk, from, to, disk_named);
    } else if (field == "aftr_isp(") {
        step(s.aftr_isp, from, to, parse_flag);
    } else if (field == "peer_isp(") {
        step(s.peer_isp, from, to, parse_flag);
    } else if (field == "user_isp(") {
        step(s.user_isp, from, to, parse_flag);
    } else {
        ADD_FAILURE() << "unknown field " << field;
    }
}

// Does the line report a change of state, "conn( Old -> New ) ..."? Then takes it over into `s`, whose fields
// must have the old values of the line.
inline bool follow_change(State& s, const std::string& line) {
    std::istringstream words(line);
    std::string field, from, arrow, to, end;
    bool any = false;
    while (words >> field >> from >> arrow >> to >> end) {
        if (!field.ends_with("(") || arrow != "->" || end != ")") return any;
        any = true;
        step_field(s, field, from, to);
    }
    return any;
}

}  // namespace duplex::engine::testing
