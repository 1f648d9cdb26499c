// What each command does for one target: functions of the command table (tools/drbdadm/commands.cpp).
#pragma once

namespace duplex::drbdadm {

class Session;
struct Target;

// setup_actions.cpp: calls of drbdsetup and drbdmeta
int setup_volume(Session& session, const Target& target);  // drbdsetup COMMAND MINOR
int create_meta_data(Session& session, const Target& target);
int meta_volume(Session& session, const Target& target);    // drbdmeta ... COMMAND
int setup_or_meta(Session& session, const Target& target);  // the first, if it cannot the second (cli 11.3)
int outdate(Session& session, const Target& target);
int apply_activity_log(Session& session, const Target& target);  // what attach begins with
int attach_disk(Session& session, const Target& target);         // what attach ends with
int attach(Session& session, const Target& target);
int disk_options(Session& session, const Target& target);
int connect(Session& session, const Target& target);
int net_options(Session& session, const Target& target);
int disconnect(Session& session, const Target& target);
int resource_options(Session& session, const Target& target);
int new_resource(Session& session, const Target& target);
int new_minor(Session& session, const Target& target);
int down(Session& session, const Target& target);
int resize(Session& session, const Target& target);
int check_resize(Session& session, const Target& target);
int status(Session& session, const Target& target);
int syncer(Session& session, const Target& target);
int become_primary(Session& session, const Target& target);

// stages.cpp
int up(Session& session, const Target& target);
int adjust(Session& session, const Target& target);
int adjust_with_progress(Session& session, const Target& target);

// wait_actions.cpp
int wait_connect(Session& session, const Target& target);
int wait_connect_interruptible(Session& session, const Target& target);

// script_actions.cpp
int do_nothing(Session& session, const Target& target);
int dump(Session& session, const Target& target);
int dump_xml(Session& session, const Target& target);
int sh_resources(Session& session, const Target& target);
int sh_resource(Session& session, const Target& target);
int sh_mod_parms(Session& session, const Target& target);
int sh_dev(Session& session, const Target& target);
int sh_udev(Session& session, const Target& target);
int sh_minor(Session& session, const Target& target);
int sh_ll_dev(Session& session, const Target& target);
int sh_md_dev(Session& session, const Target& target);
int sh_md_idx(Session& session, const Target& target);
int sh_ip(Session& session, const Target& target);
int sh_lower_resource(Session& session, const Target& target);
int sh_status(Session& session, const Target& target);

// handler_actions.cpp
int run_handler(Session& session, const Target& target);

// proxy_actions.cpp
int proxy_up(Session& session, const Target& target);
int proxy_down(Session& session, const Target& target);

}  // namespace duplex::drbdadm
