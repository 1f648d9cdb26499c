#include "tools/drbdmeta/guard.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

#include "control/directories.hpp"
#include "control/program_path.hpp"
#include "tools/drbdmeta/program.hpp"

namespace duplex::drbdmeta {

Result<bool> is_attached(int minor) {
    const std::string claim = fmt::format("{}/minors/{}", control::run_directory(), minor);
    const int fd = open(claim.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR) return false;
        return error("open({}) failed: {}", claim, std::strerror(errno));
    }
    const bool free =
        flock(fd, LOCK_SH | LOCK_NB) == 0;  // the owner holds it exclusively as long as it lives
    close(fd);
    if (free) return false;

    const Answer answer =
        run_program({control::program_path("drbdsetup"), "dstate", fmt::format("{}", minor)});
    if (answer.exit_code == 10 || answer.exit_code == 20) return false;
    if (answer.exit_code != 0)
        return error(
            "minor {} is in use, and 'drbdsetup dstate {}' does not tell whether it has a disk (exit code "
            "{})",
            minor, minor, answer.exit_code);
    const std::string own = answer.text.substr(0, answer.text.find_first_of("/ \t\n"));
    return own != "Diskless" && own != "Unconfigured";
}

}  // namespace duplex::drbdmeta
