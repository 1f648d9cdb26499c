#include "duplexd/self.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/ensure.hpp"
#include "config/cpu_mask.hpp"
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

Cpus::Cpus() {
    if (sched_getaffinity(0, sizeof all_, &all_) != 0) missing("sched_getaffinity");
}

void Cpus::use(const std::string& mask) {
    const Result<config::CpuMask> wanted = config::parse_cpu_mask(mask);
    ensure(wanted.ok());
    cpu_set_t chosen{};
    for (size_t cpu = 0; cpu < wanted->size(); ++cpu)
        if (wanted->test(cpu) && CPU_ISSET(cpu, &all_)) CPU_SET(cpu, &chosen);
    const bool any = CPU_COUNT(&chosen) > 0;
    if (!any && wanted->any())
        runtime::log_format(engine::LogLevel::warning,
                            "duplex: cpu-mask {} names no CPU that may be used; using all", mask);
    if (sched_setaffinity(0, sizeof chosen, any ? &chosen : &all_) != 0)
        runtime::log_format(engine::LogLevel::error, "duplex: cpu-mask {}: {}", mask, strerrordesc_np(errno));
}

}  // namespace duplex::duplexd
