#include "tools/drbdadm/commands.hpp"

#include <algorithm>
#include <array>

#include "control/commands.hpp"
#include "tools/drbdadm/actions.hpp"

namespace duplex::drbdadm {
namespace {

constexpr bool peer = true;
constexpr bool address = true;

constexpr Command shown(std::string_view name, Scope scope, int (*run)(Session&, const Target&),
                        ToolOptions options = ToolOptions::none, bool needs_peer = false,
                        bool checks_address = false) {
    return {name, Shown::yes, scope, options, needs_peer, checks_address, run};
}
constexpr Command script(std::string_view name, Scope scope, int (*run)(Session&, const Target&),
                         ToolOptions options = ToolOptions::none) {
    return {name, Shown::for_scripts, scope, options, false, false, run};
}
constexpr Command volume_handler(std::string_view name) {
    return {name, Shown::for_kernel, Scope::volume_handler, ToolOptions::none, false, false, run_handler};
}
constexpr Command resource_handler(std::string_view name) {
    return {name, Shown::for_kernel, Scope::resource_handler, ToolOptions::none, false, false, run_handler};
}
constexpr Command expert(std::string_view name, Scope scope, int (*run)(Session&, const Target&),
                         ToolOptions options = ToolOptions::none) {
    return {name, Shown::for_experts, scope, options, false, false, run};
}

// In the order in which the help lists them.
constexpr std::array commands{
    shown("attach", Scope::volume, attach, ToolOptions::attach),
    shown("status", Scope::optional, status, ToolOptions::status),
    shown("disk-options", Scope::volume, disk_options, ToolOptions::disk),
    shown("detach", Scope::volume, setup_volume, ToolOptions::force),
    shown("connect", Scope::resource, connect, ToolOptions::connect, peer, address),
    shown("net-options", Scope::resource, net_options, ToolOptions::net, peer, address),
    shown("disconnect", Scope::resource, disconnect, ToolOptions::force),
    shown("up", Scope::together, up, ToolOptions::none, peer, address),
    shown("resource-options", Scope::resource, resource_options, ToolOptions::resource),
    shown("down", Scope::resource, down),
    shown("primary", Scope::volume, setup_volume, ToolOptions::force),
    shown("secondary", Scope::volume, setup_volume),
    shown("invalidate", Scope::volume, setup_or_meta),
    shown("invalidate-remote", Scope::volume, setup_volume, ToolOptions::none, false, address),
    shown("outdate", Scope::volume, outdate),
    shown("resize", Scope::volume, resize, ToolOptions::none, false, address),
    shown("verify", Scope::volume, setup_volume, ToolOptions::none, false, address),
    shown("pause-sync", Scope::volume, setup_volume, ToolOptions::none, false, address),
    shown("resume-sync", Scope::volume, setup_volume, ToolOptions::none, false, address),
    shown("adjust", Scope::together, adjust, ToolOptions::none, peer, address),
    shown("adjust-with-progress", Scope::together, adjust_with_progress, ToolOptions::none, peer, address),
    shown("wait-connect", Scope::volume, wait_connect, ToolOptions::none, false, address),
    shown("wait-con-int", Scope::everything, wait_connect_interruptible, ToolOptions::none, false, address),
    shown("role", Scope::volume, setup_volume),
    shown("cstate", Scope::volume, setup_volume),
    shown("dstate", Scope::volume, setup_or_meta),
    shown("dump", Scope::optional, dump, ToolOptions::none, false, address),
    shown("dump-xml", Scope::optional, dump_xml, ToolOptions::none, false, address),
    shown("create-md", Scope::volume, create_meta_data, ToolOptions::any),
    shown("show-gi", Scope::volume, setup_or_meta),
    shown("get-gi", Scope::volume, setup_or_meta),
    shown("dump-md", Scope::volume, meta_volume),
    shown("wipe-md", Scope::volume, meta_volume),
    shown("apply-al", Scope::volume, meta_volume),
    shown("hidden-commands", Scope::none, nullptr),

    script("sh-nop", Scope::everything, do_nothing),
    script("sh-resources", Scope::everything, sh_resources),
    script("sh-resource", Scope::resource, sh_resource),
    script("sh-mod-parms", Scope::everything, sh_mod_parms),
    script("sh-dev", Scope::volume, sh_dev),
    script("sh-udev", Scope::one_volume, sh_udev),
    script("sh-minor", Scope::volume, sh_minor),
    script("sh-ll-dev", Scope::volume, sh_ll_dev),
    script("sh-md-dev", Scope::volume, sh_md_dev),
    script("sh-md-idx", Scope::volume, sh_md_idx),
    script("sh-ip", Scope::volume, sh_ip),
    script("sh-lr-of", Scope::resource, sh_lower_resource),
    script("sh-b-pri", Scope::volume, become_primary),
    script("sh-status", Scope::everything, sh_status),
    script("proxy-up", Scope::resource, proxy_up),
    script("proxy-down", Scope::resource, proxy_down),
    script("new-resource", Scope::resource, new_resource, ToolOptions::resource),

    volume_handler("before-resync-target"),
    volume_handler("after-resync-target"),
    volume_handler("before-resync-source"),
    volume_handler("pri-on-incon-degr"),
    volume_handler("pri-lost-after-sb"),
    resource_handler("fence-peer"),
    resource_handler("unfence-peer"),
    volume_handler("local-io-error"),
    volume_handler("pri-lost"),
    volume_handler("initial-split-brain"),
    volume_handler("split-brain"),
    volume_handler("out-of-sync"),

    expert("sh-new-minor", Scope::volume, new_minor),
    expert("new-minor", Scope::volume, new_minor),
    expert("suspend-io", Scope::volume, setup_volume),
    expert("resume-io", Scope::volume, setup_volume),
    expert("set-gi", Scope::one_volume, meta_volume),
    expert("new-current-uuid", Scope::one_volume, setup_volume, ToolOptions::clear_bitmap),
    expert("check-resize", Scope::volume, check_resize),
};

// What other DRBD tools do not have, or had in 8.3 only. Not in any help, so that the help stays DRBD's.
constexpr std::array more_commands{
    Command{"proc", Shown::yes, Scope::none, ToolOptions::none, false, false, nullptr},
    Command{"syncer", Shown::yes, Scope::volume, ToolOptions::none, peer, address, syncer},
};

// drbdsetup's command whose options these are.
std::string_view setup_command(ToolOptions options) {
    switch (options) {
        case ToolOptions::attach:
            return "attach";
        case ToolOptions::disk:
            return "disk-options";
        case ToolOptions::connect:
            return "connect";
        case ToolOptions::net:
            return "net-options";
        case ToolOptions::resource:
            return "resource-options";
        case ToolOptions::force:
            return "detach";
        case ToolOptions::clear_bitmap:
            return "new-current-uuid";
        case ToolOptions::status:
            return "status";
        case ToolOptions::none:
        case ToolOptions::any:
            break;
    }
    return {};
}

}  // namespace

std::span<const Command> all_commands() {
    return commands;
}

const Command* find_command(std::string_view name) {
    if (const auto* found = std::ranges::find(commands, name, &Command::name); found != commands.end())
        return found;
    const auto* found = std::ranges::find(more_commands, name, &Command::name);
    return found == more_commands.end() ? nullptr : found;
}

std::vector<ToolOption> options_of_command(ToolOptions options) {
    std::vector<ToolOption> list;
    if (options == ToolOptions::any) {
        for (const ToolOptions each : {ToolOptions::attach, ToolOptions::connect, ToolOptions::resource,
                                       ToolOptions::force, ToolOptions::clear_bitmap, ToolOptions::status}) {
            const std::vector<ToolOption> more = options_of_command(each);
            list.insert(list.end(), more.begin(), more.end());
        }
        return list;
    }
    const control::CommandInfo* const command = control::find_command(setup_command(options));
    if (command == nullptr) return list;
    for (const config::Option* const option : command->options) {
        // What the configuration says is drbdadm's own affair.
        if (option->name == "set-defaults") continue;
        list.push_back({option->name, option->type == config::OptionType::flag});
    }
    for (const std::string_view own : command->own_options) {
        if (own != "verbose") list.push_back({own, true});  // drbdadm has one itself
    }
    return list;
}

}  // namespace duplex::drbdadm
