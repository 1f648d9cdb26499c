// Requests as the engine's typed commands. Errors name the option or the argument.
#pragma once

#include "control/message.hpp"
#include "engine/resource.hpp"

namespace duplex::control {

// A command takes the options that the table of commands says; one that it does not take is never ignored.
Status check_options(const Request& request);

Result<engine::AttachCommand> attach_command(const Request& request);
Result<engine::ConnectCommand> connect_command(const Request& request);
Result<engine::ResizeCommand> resize_command(const Request& request);
Result<config::CommandOptions> command_options(const Request& request);

// The options of Options' group that the request gives, on top of `now`. With --set-defaults those not given
// go back to their defaults. For ResourceOptions, NetOptions and DiskOptions.
template <typename Options>
Result<Options> changed_options(const Request& request, const Options& now);

// Do the request's two addresses name this connection?
bool names_connection(const Request& request, const engine::ConnectionStatus& connection);

// The volume with the minor, or nullptr.
const engine::VolumeStatus* volume_of(const engine::ResourceStatus& status, int minor);

}  // namespace duplex::control
