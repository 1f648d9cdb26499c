#include "duplexd/settings.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace duplex::duplexd {
namespace {

constexpr std::string_view blanks = " \t\r";

std::string_view trimmed(std::string_view text) {
    const size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

// "none", or a comma list of nbd and device.
Status set_exports(Settings& settings, std::string_view value) {
    settings.export_nbd = false;
    settings.export_device = false;
    if (value == "none") return Ok{};
    while (!value.empty()) {
        const size_t comma = value.find(',');
        const std::string_view word = trimmed(value.substr(0, comma));
        if (word == "nbd") {
            settings.export_nbd = true;
        } else if (word == "device") {
            settings.export_device = true;
        } else {
            return error("unknown export '{}' (known: nbd, device, none)", word);
        }
        value = comma == std::string_view::npos ? std::string_view() : value.substr(comma + 1);
    }
    return Ok{};
}

Status set(Settings& settings, std::string_view line) {
    const size_t blank = line.find_first_of(blanks);
    const std::string_view key = line.substr(0, blank);
    const std::string_view value =
        blank == std::string_view::npos ? std::string_view() : trimmed(line.substr(blank));
    if (value.empty()) return error("'{}' has no value", key);
    if (key == "export") return set_exports(settings, value);
    return error("unknown setting '{}'", key);
}

}  // namespace

Result<Settings> parse_settings(std::string_view text, std::string_view file_name) {
    Settings settings;
    for (unsigned number = 1; !text.empty(); ++number) {
        const size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
        line = trimmed(line.substr(0, line.find('#')));
        if (line.empty()) continue;
        if (Status done = set(settings, line); !done) {
            return error("{}:{}: {}", file_name, number, done.error().text);
        }
    }
    return settings;
}

Result<Settings> load_settings() {
    const char* const named = std::getenv("DUPLEX_CONF");
    const std::string path = named != nullptr && *named != '\0' ? named : "/etc/duplex.conf";
    std::ifstream file(path);
    if (!file) {
        if (errno == ENOENT && named == nullptr) return Settings{};
        return error("cannot read {}: {}", path, std::strerror(errno));
    }
    std::ostringstream text;
    text << file.rdbuf();
    return parse_settings(text.str(), path);
}

}  // namespace duplex::duplexd
