#include "duplexd/self.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runtime/log.hpp"

namespace duplex::duplexd {
namespace {

void missing(const char* what) {
    runtime::log_format(engine::LogLevel::debug, "duplex: {}: {}", what, strerrordesc_np(errno));
}

void spare_from_oom_killer() {
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "-1000", 5) != 5) missing("oom_score_adj -1000");
    if (fd >= 0) close(fd);
}

}  // namespace

void protect_self() {
    // Pages of ours that were swapped out to the very device we serve could never come back. On fault: only
    // what is used is locked, not whole address ranges.
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) missing("mlockall");
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) missing("PR_SET_IO_FLUSHER");
    spare_from_oom_killer();
}

}  // namespace duplex::duplexd
