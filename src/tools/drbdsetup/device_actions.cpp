#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

#include "control/oneline_text.hpp"
#include "control/typed_request.hpp"
#include "control/words.hpp"
#include "tools/drbdmeta/last_known.hpp"
#include "tools/drbdsetup/actions.hpp"
#include "tools/drbdsetup/exit_code.hpp"
#include "tools/drbdsetup/reach.hpp"

namespace duplex::drbdsetup {
namespace {

std::optional<engine::VolumeStatus> volume_for(const control::RunDir& run_dir, const Invocation& invocation,
                                               int& code) {
    const std::optional<engine::ResourceStatus> resource = status_of(run_dir, invocation, code);
    if (!resource) return std::nullopt;
    return *control::volume_of(*resource, invocation.request.minor);
}

int print_line(const control::RunDir& run_dir, const Invocation& invocation,
               std::string (*line_of)(const engine::VolumeStatus&)) {
    int code = exit_ok;
    const auto volume = volume_for(run_dir, invocation, code);
    if (volume) fmt::print("{}", line_of(*volume));
    return code;
}

int print_generation(const control::RunDir& run_dir, const Invocation& invocation,
                     std::string (*text_of)(const engine::DiskStatus&)) {
    int code = exit_ok;
    const auto volume = volume_for(run_dir, invocation, code);
    if (!volume) return code;
    if (!volume->disk) {
        const bool unconfigured = volume->state.conn == wire::ConnState::stand_alone;
        fmt::print(stderr, "{}\n", unconfigured ? "Device is unconfigured" : "Device has no disk");
        return exit_unconfigured;
    }
    fmt::print("{}", text_of(*volume->disk));
    return exit_ok;
}

Result<uint64_t> size_of(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error("cannot open {}: {}", path, std::strerror(errno));
    const off_t end = lseek(fd, 0, SEEK_END);
    const int reason = errno;
    close(fd);
    if (end < 0) return error("cannot find out the size of {}: {}", path, std::strerror(reason));
    return static_cast<uint64_t>(end);
}

}  // namespace

int role(const control::RunDir& run_dir, const Invocation& invocation) {
    return print_line(run_dir, invocation, control::role_text);
}

int cstate(const control::RunDir& run_dir, const Invocation& invocation) {
    return print_line(run_dir, invocation, control::cstate_text);
}

int dstate(const control::RunDir& run_dir, const Invocation& invocation) {
    return print_line(run_dir, invocation, control::dstate_text);
}

int get_gi(const control::RunDir& run_dir, const Invocation& invocation) {
    return print_generation(run_dir, invocation, control::generation_text);
}

int show_gi(const control::RunDir& run_dir, const Invocation& invocation) {
    return print_generation(run_dir, invocation, control::explained_generation_text);
}

// Remembers how large the disk is, so that internal meta data is found again should it grow while it is not
// attached (cli 22.1).
int check_resize(const control::RunDir& run_dir, const Invocation& invocation) {
    int code = exit_ok;
    const auto volume = volume_for(run_dir, invocation, code);
    if (!volume) return code;
    if (!volume->disk) {
        fmt::print(stderr, "Has no disk config, try with drbdmeta.\n");
        return exit_unconfigured;
    }
    drbdmeta::Options device;
    device.minor = invocation.request.minor;
    constexpr int internal = -1;
    if (volume->disk->meta_index != internal) {
        drbdmeta::forget_last_known(device);
        return exit_ok;
    }
    const Result<uint64_t> size_bytes = size_of(volume->disk->data_path);
    if (!size_bytes) return tell_no_answer(size_bytes.error().text);
    const Status stored = drbdmeta::store_last_known(device, {*size_bytes, volume->disk->data_path, 0});
    return stored ? exit_ok : tell_no_answer(stored.error().text);
}

}  // namespace duplex::drbdsetup
