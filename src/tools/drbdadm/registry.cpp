#include "tools/drbdadm/registry.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "control/directories.hpp"
#include "tools/drbdadm/session.hpp"

namespace duplex::drbdadm {
namespace {

namespace fs = std::filesystem;

// A link that cannot be made costs no more than a message: what it is for finds the default file.
void make_link(const Session& session, const std::string& name) {
    if (session.dry_run() || session.from_stdin) return;
    const fs::path folder = fs::path(control::registry_directory());
    std::error_code problem;
    if (fs::create_directories(folder, problem)) {
        fs::permissions(folder, fs::perms::owner_all, problem);
    }
    const fs::path link = folder / name;
    const fs::path target = session.config.absolute_file;
    if (fs::read_symlink(link, problem) == target) return;
    fs::remove(link, problem);
    fs::create_symlink(target, link, problem);
    if (problem) {
        fmt::print(stderr, "could not register the configuration file as {}: {}\n", link.string(),
                   problem.message());
    }
}

// Resource names may hold anything; a slash would leave the directory.
bool is_file_name(std::string_view name) {
    return name.find('/') == std::string_view::npos;
}

}  // namespace

void register_resource(const Session& session, const config::Resource& resource) {
    if (is_file_name(resource.name)) make_link(session, fmt::format("drbd-resource-{}.conf", resource.name));
}

void register_minor(const Session& session, unsigned minor) {
    make_link(session, fmt::format("drbd-minor-{}.conf", minor));
}

std::optional<std::string> registered_file(std::string_view name) {
    if (!is_file_name(name)) name = name.substr(0, name.find('/'));
    const std::string file = name.starts_with("minor-") ? fmt::format("drbd-{}.conf", name)
                                                        : fmt::format("drbd-resource-{}.conf", name);
    std::error_code problem;
    const fs::path target = fs::read_symlink(fs::path(control::registry_directory()) / file, problem);
    if (problem || !fs::exists(target, problem)) return std::nullopt;
    return target.string();
}

}  // namespace duplex::drbdadm
