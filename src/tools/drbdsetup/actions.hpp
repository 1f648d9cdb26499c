// What each command does, by the file that does it. All return the exit status.
#pragma once

#include "control/run_dir.hpp"
#include "tools/drbdsetup/command_line.hpp"

namespace duplex::drbdsetup {

using Action = int (*)(const control::RunDir& run_dir, const Invocation& invocation);

// change_actions.cpp: the process is asked to do it
int send_request(const control::RunDir& run_dir, const Invocation& invocation);
int delete_minor(const control::RunDir& run_dir, const Invocation& invocation);

// resource_actions.cpp: the process itself comes and goes
int new_resource(const control::RunDir& run_dir, const Invocation& invocation);
int delete_resource(const control::RunDir& run_dir, const Invocation& invocation);
int down(const control::RunDir& run_dir, const Invocation& invocation);

// device_actions.cpp: one line about one minor
int role(const control::RunDir& run_dir, const Invocation& invocation);
int cstate(const control::RunDir& run_dir, const Invocation& invocation);
int dstate(const control::RunDir& run_dir, const Invocation& invocation);
int get_gi(const control::RunDir& run_dir, const Invocation& invocation);
int show_gi(const control::RunDir& run_dir, const Invocation& invocation);
int check_resize(const control::RunDir& run_dir, const Invocation& invocation);

// node_actions.cpp: a minor, a resource or all
int show(const control::RunDir& run_dir, const Invocation& invocation);
int status(const control::RunDir& run_dir, const Invocation& invocation);
int sh_status(const control::RunDir& run_dir, const Invocation& invocation);
int proc(const control::RunDir& run_dir);

// events_actions.cpp
int events(const control::RunDir& run_dir, const Invocation& invocation);
int events2(const control::RunDir& run_dir, const Invocation& invocation);

// wait_actions.cpp
int wait_connect(const control::RunDir& run_dir, const Invocation& invocation);
int wait_sync(const control::RunDir& run_dir, const Invocation& invocation);

}  // namespace duplex::drbdsetup
