// What a process that storage depends on asks of the kernel for itself. Best effort: what cannot be had is
// said in the log at debug level.
#pragma once

#include <sched.h>
#include <string>

namespace duplex::duplexd {

void protect_self();

// The CPUs that the calling thread may run on: those it was started with, or those of them that a cpu-mask
// names.
class Cpus {
  public:
    Cpus();
    // mask: valid (config/cpu_mask.hpp). One without any CPU that is there counts as none, and the log says
    // so.
    void use(const std::string& mask);

  private:
    cpu_set_t all_{};
};

}  // namespace duplex::duplexd
