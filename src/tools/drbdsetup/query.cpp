// The commands that only look.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/fs.h>
#include <span>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "control/directories.hpp"
#include "control/minor_claim.hpp"
#include "control/node.hpp"
#include "control/oneline_text.hpp"
#include "control/show_text.hpp"
#include "control/status_report.hpp"
#include "control/status_text.hpp"
#include "control/typed_request.hpp"
#include "control/words.hpp"
#include "tools/drbdsetup/tool.hpp"
#include "tools/drbdsetup/usage.hpp"

namespace duplex::drbdsetup {
namespace {

using control::Absence;
using control::Client;
using control::ConnectFailure;
using control::RunDir;

void put(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

// All resources that answer; what is wrong with the others is said. exit_status is 20 if one lives but is
// silent.
std::vector<engine::ResourceStatus> all_resources(const RunDir& run_dir, int& exit_status) {
    control::NodeStatus node = control::ask_all(run_dir, answer_timeout_ms);
    for (const control::SilentResource& silent : node.silent) {
        fmt::print(stderr, "{}\n", silent.why);
        if (!silent.dead) exit_status = exit_usage;
    }
    return std::move(node.resources);
}

struct Lookup {
    std::optional<engine::ResourceStatus> status;
    bool is_unknown = false;  // there is no such resource; else what is wrong has been said
};

Lookup resource_named(const RunDir& run_dir, const std::string& name) {
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir, name, failure);
    if (!client) {
        if (failure.absence == Absence::none) return {std::nullopt, true};
        fmt::print(stderr, "{}\n", failure.text);
        return {std::nullopt, failure.absence == Absence::dead};
    }
    Result<engine::ResourceStatus> status = client->status(answer_timeout_ms);
    if (status) return {std::move(*status), false};
    fmt::print(stderr, "{}\n", status.error().text);
    return {};
}

int print_generations(const CommandLine& line, const engine::VolumeStatus& volume) {
    if (control::is_unconfigured_for_tools(volume)) {
        fmt::print(stderr, "Device is unconfigured\n");
        return 1;
    }
    if (!volume.disk) {
        fmt::print(stderr, "Device has no disk\n");
        return 1;
    }
    put(line.command->name == "get-gi" ? control::generation_text(*volume.disk)
                                       : control::explained_generation_text(*volume.disk));
    return 0;
}

Result<uint64_t> size_of_device(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error("open({}) failed: {}", path, std::strerror(errno));
    struct stat status {};
    uint64_t size_bytes = 0;
    const bool known =
        fstat(fd, &status) == 0 &&
        (S_ISBLK(status.st_mode) ? ioctl(fd, BLKGETSIZE64, &size_bytes) == 0 : status.st_size >= 0);
    const int problem = errno;
    close(fd);
    if (!known) return error("size of {}: {}", path, std::strerror(problem));
    return S_ISBLK(status.st_mode) ? size_bytes : static_cast<uint64_t>(status.st_size);
}

// cli 30.3: by this drbdmeta finds internal meta data again after the device has grown.
int check_resize(const engine::VolumeStatus& volume) {
    if (!volume.disk) {
        fmt::print(stderr, "Has no disk config, try with drbdmeta.\n");
        return 1;
    }
    const std::string path = fmt::format("{}/drbd-minor-{}.lkbd", control::state_directory(), volume.minor);
    if (volume.disk->meta_index != -1) {
        unlink(path.c_str());
        return 0;
    }
    const Result<uint64_t> size_bytes = size_of_device(volume.disk->data_path);
    if (!size_bytes) return report_trouble(size_bytes.error().text);
    mkdir(control::state_directory().c_str(), 0700);  // if it is missing; if that fails, open() says so
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return report_trouble(fmt::format("open({}) failed: {}", path, std::strerror(errno)));
    const std::string text = fmt::format("{}\t{}\n", *size_bytes, volume.disk->data_path);
    const bool written =
        write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
    close(fd);
    return written ? 0 : report_trouble(fmt::format("writing {} failed", path));
}

int query_minor(const RunDir& run_dir, const CommandLine& line) {
    int exit_status = 0;
    const auto status = status_of_minor(run_dir, line, exit_status);
    if (!status) return exit_status;
    const auto minor = static_cast<int>(*minor_of(line.object()));
    const engine::VolumeStatus* const volume = control::volume_of(*status, minor);
    if (volume == nullptr) return report_unknown_minor(line.object());
    const std::string_view command = line.command->name;
    if (command == "get-gi" || command == "show-gi") return print_generations(line, *volume);
    if (command == "check-resize") return check_resize(*volume);
    if (command == "cstate") {
        put(control::cstate_text(*volume));
    } else if (command == "dstate") {
        put(control::dstate_text(*volume));
    } else {
        put(control::role_text(*volume));
    }
    return 0;
}

void print_sh_status(const engine::ResourceStatus& resource) {
    if (resource.volumes.empty()) put(control::sh_status_no_volume_text(resource));
    for (const engine::VolumeStatus& volume : resource.volumes)
        put(control::sh_status_text(resource, volume));
}

int sh_status(const RunDir& run_dir, const CommandLine& line) {
    constexpr int exit_unknown = 19;
    int exit_status = 0;
    if (line.means_all()) {
        for (const auto& resource : all_resources(run_dir, exit_status)) print_sh_status(resource);
        return exit_status;
    }
    if (const auto minor = minor_of(line.object())) {
        const std::optional<std::string> name = control::resource_of_minor(run_dir, *minor);
        const Lookup found = name ? resource_named(run_dir, *name) : Lookup{std::nullopt, true};
        const auto* const volume =
            found.status ? control::volume_of(*found.status, static_cast<int>(*minor)) : nullptr;
        if (!found.status && !found.is_unknown) return exit_usage;
        put(volume != nullptr ? control::sh_status_text(*found.status, *volume)
                              : control::sh_status_unknown_minor_text(*minor));
        return 0;
    }
    const Lookup found = resource_named(run_dir, line.object());
    if (!found.status) return found.is_unknown ? exit_unknown : exit_usage;
    print_sh_status(*found.status);
    return 0;
}

int show(const RunDir& run_dir, const CommandLine& line) {
    const bool with_defaults = line.own.contains("show-defaults");
    int exit_status = 0;
    if (line.means_all()) {
        bool first = true;
        for (const auto& resource : all_resources(run_dir, exit_status)) {
            put((first ? "" : "\n") + control::show_text(resource, with_defaults));
            first = false;
        }
        return exit_status;
    }
    if (const auto minor = minor_of(line.object())) {
        auto status = status_of_minor(run_dir, line, exit_status);
        if (!status) return exit_status;
        std::erase_if(status->volumes, [&minor](const auto& volume) { return volume.minor != *minor; });
        put(control::show_text(*status, with_defaults));
        return 0;
    }
    const Lookup found = resource_named(run_dir, line.object());
    if (!found.status) {
        return found.is_unknown ? report_trouble("received netlink error reply: No such device") : exit_usage;
    }
    put(control::show_text(*found.status, with_defaults));
    return 0;
}

std::optional<bool> wants_color(const CommandLine& line) {
    const auto color = line.own.find("color");
    const std::string word = color == line.own.end() ? "auto" : color->second;
    if (word.empty() || word == "always") return true;
    if (word == "never") return false;
    if (word == "auto") return isatty(STDOUT_FILENO) != 0;
    return std::nullopt;
}

unsigned terminal_width() {
    winsize size{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int status(const RunDir& run_dir, const CommandLine& line) {
    const std::optional<bool> color = wants_color(line);
    if (!color) {
        put(general_usage() + "\nunknown --color argument\n");
        return exit_usage;
    }
    const bool as_json = line.own.contains("json");
    const control::StatusStyle style{.verbose = line.own.contains("verbose"),
                                     .statistics = line.own.contains("statistics"),
                                     .color = *color,
                                     .width = terminal_width()};
    const auto print = [&style, as_json](std::span<const engine::ResourceStatus> resources) {
        if (as_json) return put(control::status_report(resources));
        for (const auto& resource : resources) put(control::status_text(resource, style));
    };
    int exit_status = 0;
    if (line.means_all()) {
        print(all_resources(run_dir, exit_status));
        return exit_status;
    }
    const Lookup found = resource_named(run_dir, line.object());
    if (found.status) {
        print(std::span(&*found.status, 1));
        return 0;
    }
    if (!found.is_unknown) return exit_usage;
    fmt::print(stderr, "{}: No such resource\n", line.object());
    return exit_failure;
}

}  // namespace

std::optional<engine::ResourceStatus> status_of_minor(const RunDir& run_dir, const CommandLine& line,
                                                      int& exit_status) {
    const std::optional<std::string> name = control::resource_of_minor(run_dir, *minor_of(line.object()));
    if (!name) {
        exit_status = report_unknown_minor(line.object());
        return std::nullopt;
    }
    Lookup found = resource_named(run_dir, *name);
    if (!found.status) exit_status = found.is_unknown ? report_unknown_minor(line.object()) : exit_usage;
    return std::move(found.status);
}

int run_query(const RunDir& run_dir, const CommandLine& line) {
    const std::string_view command = line.command->name;
    if (command == "sh-status") return sh_status(run_dir, line);
    if (command == "show") return show(run_dir, line);
    if (command == "status") return status(run_dir, line);
    return query_minor(run_dir, line);
}

int print_proc(const RunDir& run_dir) {
    put(control::proc_text_of(run_dir, answer_timeout_ms));
    return 0;
}

}  // namespace duplex::drbdsetup
