// What a process that storage depends on asks of the kernel for itself. Best effort: what cannot be had is
// said in the log at debug level.
#pragma once

namespace duplex::duplexd {

void protect_self();

}  // namespace duplex::duplexd
