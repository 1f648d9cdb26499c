#include "control/typed_request.hpp"

#include <charconv>

#include "control/commands.hpp"
#include "control/endpoint.hpp"

namespace duplex::control {
namespace {

using config::CommandOptions;
using config::DiskOptions;
using config::NetOptions;

template <typename Options>
bool has_option(std::string_view name) {
    for (const auto& field : config::fields_of<Options>()) {
        if (field.option.name == name) return true;
    }
    return false;
}

// Sets those of the request's options that Options knows.
template <typename Options>
Result<Options> options_from(const Request& request, Options options) {
    for (const auto& [name, text] : request.options) {
        if (!has_option<Options>(name)) continue;
        if (Status set = config::set_option(options, name, text); !set) return set.error();
    }
    return options;
}

Result<int> meta_index_of(std::string_view text) {
    if (text == "internal") return -1;
    if (text == "flexible" || text == "flex-external") return -2;
    int index = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (failed != std::errc() || end != text.data() + text.size() || index < 0) {
        return error("meta_data_index '{}' is neither internal, flexible nor a number", text);
    }
    return index;
}

}  // namespace

Status check_options(const Request& request) {
    const CommandInfo* const command = find_command(request.command);
    if (command == nullptr) return error("unknown command '{}'", request.command);
    for (const auto& [name, text] : request.options) {
        const config::Option* const option = find_option(*command, name);
        if (option == nullptr || option->name != name) {  // older names are the tools' affair
            return error("{}: unrecognized option '--{}'", request.command, name);
        }
    }
    return Ok{};
}

template <typename Options>
Result<Options> changed_options(const Request& request, const Options& now) {
    const Result<CommandOptions> command = options_from(request, CommandOptions{});
    if (!command) return command.error();
    if (!command->set_defaults) return options_from(request, now);
    Options defaults;
    for (const auto& field : config::fields_of<Options>()) {
        if (field.option.attach_only) field.set(defaults, field.get(now));
    }
    return options_from(request, defaults);
}
template Result<DiskOptions> changed_options(const Request&, const DiskOptions&);
template Result<NetOptions> changed_options(const Request&, const NetOptions&);
template Result<config::ResourceOptions> changed_options(const Request&, const config::ResourceOptions&);

Result<engine::AttachCommand> attach_command(const Request& request) {
    if (request.arguments.size() != 3)
        return error("attach needs lower_dev, meta_data_dev and meta_data_index");
    const Result<int> index = meta_index_of(request.arguments[2]);
    if (!index) return index.error();
    const Result<DiskOptions> options = options_from(request, DiskOptions{});
    if (!options) return options.error();
    return engine::AttachCommand{request.arguments[0], request.arguments[1], *index, *options};
}

Result<engine::ResizeCommand> resize_command(const Request& request) {
    const Result<config::CommandOptions> options = command_options(request);
    if (!options) return options.error();
    const Result<DiskOptions> disk = options_from(request, DiskOptions{});
    if (!disk) return disk.error();
    engine::ResizeCommand command{disk->size_sectors, options->assume_peer_has_space, options->assume_clean,
                                  std::nullopt, std::nullopt};
    if (request.options.contains("al-stripes")) command.al_stripes = options->al_stripes;
    if (request.options.contains("al-stripe-size-kB"))
        command.al_stripe_size_kib = static_cast<uint32_t>(options->al_stripe_size_kib);
    return command;
}

Result<engine::ConnectCommand> connect_command(const Request& request) {
    if (request.arguments.size() != 2) return error("connection endpoint(s) missing");
    const Result<ParsedEndpoint> local = parse_endpoint(request.arguments[0]);
    if (!local) return local.error();
    const Result<ParsedEndpoint> peer = parse_endpoint(request.arguments[1]);
    if (!peer) return peer.error();
    const Result<NetOptions> net = options_from(request, NetOptions{});
    if (!net) return net.error();
    const Result<CommandOptions> command = options_from(request, CommandOptions{});
    if (!command) return command.error();
    return engine::ConnectCommand{local->endpoint, peer->endpoint, *net, command->discard_my_data,
                                  command->tentative};
}

Result<CommandOptions> command_options(const Request& request) {
    return options_from(request, CommandOptions{});
}

bool names_connection(const Request& request, const engine::ConnectionStatus& connection) {
    if (!connection.configured || request.arguments.size() != 2) return false;
    const Result<ParsedEndpoint> local = parse_endpoint(request.arguments[0]);
    const Result<ParsedEndpoint> peer = parse_endpoint(request.arguments[1]);
    return local && peer && local->endpoint == connection.local && peer->endpoint == connection.peer;
}

const engine::VolumeStatus* volume_of(const engine::ResourceStatus& status, int minor) {
    for (const engine::VolumeStatus& volume : status.volumes) {
        if (minor >= 0 && volume.minor == static_cast<unsigned>(minor)) return &volume;
    }
    return nullptr;
}

}  // namespace duplex::control
