// Starting the node's processes in the background. All return once the process can be used, or has said why
// it cannot.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace duplex::drbdsetup {

// duplexd RESOURCE; its words go to $DUPLEX_LOG_DIR/RESOURCE.log, by default in /var/log/duplex. Where
// systemd runs and the installed programs are used, it is the unit duplexd@RESOURCE.
Status start_resource_process(const std::string& resource);

// The node's one process behind $DUPLEX_RUN_DIR/proc/drbd, unless it runs.
Status start_proc_process();

// The unit's name for a resource, as systemd-escape(1) spells it.
std::string resource_unit(std::string_view resource);

// Without systemd: a program, by its path or to be found in PATH, in a session of its own, with
// no files but /dev/null, the log and --ready-fd. It writes "ready" to that, or what is wrong, and closes it.
// log is the log's name.
Status start_program(const std::string& program, std::vector<std::string> words, const std::string& log);

}  // namespace duplex::drbdsetup
