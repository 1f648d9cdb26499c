#include "control/oneline_text.hpp"

#include <array>
#include <string_view>

#include <fmt/format.h>

#include "control/proc_text.hpp"
#include "control/words.hpp"
#include "meta/generation_text.hpp"

namespace duplex::control {
namespace {

constexpr std::string_view unconfigured = "Unconfigured\n";
constexpr std::string_view sh_status_end = "\n_sh_status_process\n\n\n";

// What there is to say of a minor without a state.
constexpr std::string_view sh_status_nothing =
    "_cstate=Unconfigured\n_role=\n_peer=\n_disk=\n_pdsk=\n_flags_susp=\n_flags_aftr_isp=\n"
    "_flags_peer_isp=\n_flags_user_isp=\n_resynced_percent=\n\n_sh_status_process\n\n\n";

std::string sh_status_head(unsigned minor, std::string_view resource, int volume, std::string_view known) {
    return fmt::format("_minor={}\n_res_name={}\n_volume={}\n_known={}\n\n", minor, resource, volume, known);
}

std::string_view one_or_empty(bool flag) {
    return flag ? "1" : "";
}

std::string resynced_percent(const engine::VolumeStatus& volume) {
    if (!volume.sync) return {};
    const unsigned per_mille = progress_per_mille(volume.sync->total_bits, volume.sync->left_bits);
    return fmt::format("{}.{}", per_mille / 10, per_mille % 10);
}

std::array<uint64_t, 4> uuids_of(const engine::DiskStatus& disk) {
    return {disk.current_uuid, disk.bitmap_uuid, disk.history_uuids[0], disk.history_uuids[1]};
}

}  // namespace

std::string role_text(const engine::VolumeStatus& volume) {
    if (is_unconfigured_for_tools(volume)) return std::string(unconfigured);
    return fmt::format("{}/{}\n", name_of(volume.state.role), name_of(volume.state.peer));
}

std::string cstate_text(const engine::VolumeStatus& volume) {
    if (is_unconfigured_for_tools(volume)) return std::string(unconfigured);
    return fmt::format("{}\n", name_of(volume.state.conn));
}

std::string dstate_text(const engine::VolumeStatus& volume) {
    if (is_unconfigured_for_tools(volume)) return std::string(unconfigured);
    return fmt::format("{}/{}\n", name_of(volume.state.disk), name_of(volume.state.pdsk));
}

std::string sh_status_text(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume) {
    const int number = static_cast<int>(volume.volume);
    if (is_unconfigured(volume)) {
        return sh_status_head(volume.minor, resource.name, number, "Unconfigured") +
               std::string(sh_status_nothing);
    }
    const wire::State& state = volume.state;
    return sh_status_head(volume.minor, resource.name, number, "Configured") +
           fmt::format("_cstate={}\n_role={}\n_peer={}\n_disk={}\n_pdsk={}\n\n", name_of(state.conn),
                       name_of(state.role), name_of(state.peer), name_of(state.disk), name_of(state.pdsk)) +
           fmt::format("_flags_susp={}\n_flags_aftr_isp={}\n_flags_peer_isp={}\n_flags_user_isp={}\n\n",
                       one_or_empty(is_suspended(state)), one_or_empty(state.aftr_isp),
                       one_or_empty(state.peer_isp), one_or_empty(state.user_isp)) +
           fmt::format("_resynced_percent={}\n", resynced_percent(volume)) + std::string(sh_status_end);
}

std::string sh_status_unknown_minor_text(unsigned minor) {
    return sh_status_head(minor, {}, -1, "NA # not available or not yet created") +
           std::string(sh_status_nothing);
}

std::string sh_status_no_volume_text(const engine::ResourceStatus& resource) {
    constexpr unsigned no_minor = 0xffffffff;
    return sh_status_head(no_minor, resource.name, -1, "NA # not available or not yet created") +
           std::string(sh_status_nothing);
}

std::string generation_text(const engine::DiskStatus& disk) {
    return meta::generation_text(uuids_of(disk), disk.flags) + '\n';
}

std::string explained_generation_text(const engine::DiskStatus& disk) {
    return meta::explained_generation_text(uuids_of(disk), disk.flags);
}

}  // namespace duplex::control
