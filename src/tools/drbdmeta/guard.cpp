#include "tools/drbdmeta/guard.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

#include "control/directories.hpp"
#include "tools/drbdmeta/program.hpp"

namespace duplex::drbdmeta {

namespace {

// drbdsetup beside this program, or else the one in the path.
std::string drbdsetup_path() {
    std::array<char, 4096> self{};
    const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);
    if (length > 0) {
        std::string path(self.data(), static_cast<size_t>(length));
        path.resize(path.rfind('/') + 1);
        path += "drbdsetup";
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return "drbdsetup";
}

}  // namespace

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

    const Answer answer = run_program({drbdsetup_path(), "dstate", fmt::format("{}", minor)});
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
