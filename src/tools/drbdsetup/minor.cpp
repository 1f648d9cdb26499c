#include "tools/drbdsetup/minor.hpp"

#include <charconv>
#include <filesystem>
#include <string_view>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "control/minor_claim.hpp"

namespace duplex::drbdsetup {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view device_prefix = "/dev/drbd";
constexpr unsigned drbd_major = 147;
constexpr int links_max = 40;

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<unsigned> number_of(std::string_view digits) {
    unsigned number = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (failed != std::errc() || end != digits.data() + digits.size() || number > control::minor_max) {
        return std::nullopt;
    }
    return number;
}

}  // namespace

std::optional<unsigned> minor_of(const std::string& text) {
    if (is_number(text)) return number_of(text);
    if (!text.starts_with('/')) return std::nullopt;
    // The name counts before what it leads to: /dev/drbdN may itself be a link to whatever carries the
    // device.
    fs::path path = text;
    for (int links = 0; links < links_max; ++links) {
        const std::string name = path.string();
        if (name.starts_with(device_prefix) && is_number(std::string_view(name).substr(device_prefix.size())))
            return number_of(std::string_view(name).substr(device_prefix.size()));
        std::error_code problem;
        const fs::path target = fs::read_symlink(path, problem);
        if (problem) break;
        path = (path.parent_path() / target).lexically_normal();
    }
    struct stat status {};
    if (stat(text.c_str(), &status) == 0 && S_ISBLK(status.st_mode) && major(status.st_rdev) == drbd_major)
        return minor(status.st_rdev);
    return std::nullopt;
}

}  // namespace duplex::drbdsetup
