// A configuration as parsed, and as filled in for one host afterwards (config/roles.hpp, config/merge.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace duplex::config {

// Where something stands: the file as messages of the parser name it, and the line.
struct Position {
    std::string file;
    int line = 0;
};

// An option as written. Values stay text until they are used: the tools hand the text on (cli 5.1).
// Names are the 8.4 ones; a flag without value has the value "yes".
struct OptionSetting {
    std::string name;
    std::string value;
};

// In the order written, duplicates kept (cli 7).
using OptionList = std::vector<OptionSetting>;

const OptionSetting* find_setting(const OptionList& list, std::string_view name);

struct Address {
    std::string family;  // ipv4 ipv6 ssocks sdp
    std::string ip;      // without brackets
    std::string port;    // as written: 7788, 7K
    int line = 0;        // 0: there is no address

    explicit operator bool() const { return line != 0; }
};

struct Volume {
    unsigned number = 0;
    bool implicit = false;          // made of statements outside any volume section
    std::string device;             // /dev/drbd..., empty if only the minor was given
    std::optional<uint32_t> minor;  // the device statement is missing without it
    std::string disk;               // empty: missing
    std::string meta_disk;          // "internal" or a path; empty: missing
    std::string meta_index;         // "internal", "flexible" or a number; empty: missing
    OptionList disk_options;

    bool internal_meta_disk() const { return meta_index == "internal"; }
    // The device that holds the meta data.
    const std::string& meta_device() const { return internal_meta_disk() ? disk : meta_disk; }
    // The configured device name, or /dev/drbdM.
    std::string device_name() const;
};

// A number of their own, in ascending order.
using Volumes = std::vector<Volume>;

Volume* find_volume(Volumes& volumes, unsigned number);
const Volume* find_volume(const Volumes& volumes, unsigned number);

struct ProxyHost {
    std::vector<std::string> names;
    Address inside;
    Address outside;
    OptionList options;
    std::vector<std::string> plugins;
};

enum class HostKind : uint8_t {
    on,
    floating,     // known by its address only
    stacked,      // stands for every host of the lower resource
    this_host,    // as printed by drbdsetup show
    remote_host,  // as printed by drbdsetup show
};

struct Resource;

// A resource name that cannot be used at all: the message that says so, else empty (cli 3).
std::string_view unusable_name(std::string_view name);

struct Host {
    HostKind kind = HostKind::on;
    std::vector<std::string> names;  // of a stacked section: those of the lower resource's hosts
    std::string lower_name;          // stacked
    const Resource* lower = nullptr;
    Address address;
    Address alternate_address;
    Volumes volumes;
    OptionList options;  // accepted and dumped, never used (cli 4.3)
    std::optional<ProxyHost> proxy;
    int line = 0;  // where the section began

    bool has_name(std::string_view name) const;
    // How messages call it: its names, or the address of a floating one.
    std::string label() const;
};

// The sections a resource and the common section share.
struct Sections {
    OptionList net;
    OptionList disk;
    OptionList startup;
    OptionList options;
    OptionList handlers;
    OptionList proxy;
    std::vector<std::string> plugins;
    std::vector<std::string> become_primary_on;
    bool stacked_timeouts = false;
};

struct Resource : Sections {
    std::string name;
    std::string absolute_file;  // "STDIN" if read from standard input
    std::string file;           // as messages of the parser name it
    int line = 0;
    std::vector<Host> hosts;
    Volumes volumes;  // resource level: what the hosts' volumes lack is taken from here

    // Filled in by assign_roles() and choose_peer(); point into hosts.
    Host* me = nullptr;
    Host* peer = nullptr;
    bool peer_examined = false;

    bool ignored() const { return me == nullptr; }
    bool stacked() const { return me != nullptr && me->kind == HostKind::stacked; }
};

enum class UsageCount : uint8_t { ask, yes, no };

struct Global {
    unsigned minor_count = 0;  // 0: not set
    unsigned dialog_refresh_s = 1;
    bool disable_ip_verification = false;
    bool udev_always_use_vnr = false;
    UsageCount usage_count = UsageCount::ask;
    unsigned cmd_timeout_short_s = 5;
    unsigned cmd_timeout_medium_s = 600;  // the built-in values of DRBD's drbdadm, not the documented ones
    unsigned cmd_timeout_long_s = 0;      // (cli 4.1)
};

struct Config {
    std::string absolute_file;
    Global global;
    std::optional<Sections> common;
    std::vector<std::unique_ptr<Resource>> resources;  // in file order; hosts point to them

    Resource* find_resource(std::string_view name) const;
};

}  // namespace duplex::config
