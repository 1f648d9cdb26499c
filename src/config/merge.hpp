// Inheritance: what resources and volumes take from common and resource level, in the order in which the
// lower tools are to get it (cli 7); and the checks that need the whole configuration (cli 9.3).
#pragma once

#include "config/model.hpp"
#include "config/report.hpp"

namespace duplex::config {

// What a reference to a resource that is not there leads to. On a terminal it is an error; elsewhere the
// option is dropped with a message, so that what is left over of a deleted resource does not make a cluster
// manager's calls fail.
enum class DanglingReferences : bool { drop, refuse };

// The lower tools know minors only; dump shows the name that was written.
enum class ResyncAfter : bool { by_name, by_minor };

// Fills in everything that is inherited, and names of devices. Needs roles.
void merge(Config& config, ResyncAfter resync_after, DanglingReferences dangling, Report& report);

// become-primary-on, proxy sections, resync-after at resource level. Needs roles.
void check_references(Config& config, DanglingReferences dangling, Report& report);

}  // namespace duplex::config
