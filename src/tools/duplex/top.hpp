// "duplex top": the state of the node on the whole terminal, once a second, until 'q' or a signal.
#pragma once

namespace duplex::tool {

// The exit status. The terminal is left as it was.
int run_top();

}  // namespace duplex::tool
