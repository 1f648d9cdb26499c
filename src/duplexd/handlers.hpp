// The command that runs a helper program as the kernel does (cli 17): drbdadm HANDLER minor-N, or the
// resource's name where the handler is for the whole resource.
#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "runtime/handler.hpp"

namespace duplex::duplexd {

// peer: nullptr if no connection is configured. drbdadm: its path.
runtime::HandlerCommand handler_command(std::string_view drbdadm, std::string_view handler, int minor,
                                        std::string_view resource, const engine::Endpoint* peer);

}  // namespace duplex::duplexd
