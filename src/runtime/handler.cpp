#include "runtime/handler.hpp"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/ensure.hpp"
#include "runtime/spawn.hpp"

namespace duplex::runtime {

namespace {

Result<pid_t> spawn_shell(const HandlerCommand& command) {
    const SpawnSettings settings;
    std::string shell = "sh", option = "-c", text = command.command;
    char* arguments[] = {shell.data(), option.data(), text.data(), nullptr};
    std::vector<std::string> copies = command.environment;
    std::vector<char*> environment;
    environment.reserve(copies.size() + 1);
    for (std::string& variable : copies) environment.push_back(variable.data());
    environment.push_back(nullptr);
    pid_t pid = -1;
    const int code =
        posix_spawn(&pid, "/bin/sh", &settings.files, &settings.attributes, arguments, environment.data());
    if (code != 0) return error("cannot run /bin/sh -c '{}': {}", command.command, strerror(code));
    return pid;
}

int exit_code_of(int pidfd) {
    siginfo_t info{};
    while (waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED) != 0) {
        if (errno != EINTR) return 127;  // somebody else took the status: not known to have succeeded
    }
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

}  // namespace

Status Handler::start(Loop& loop, List<Handler, Handler>& running, const HandlerCommand& command, Done done) {
    const Result<pid_t> pid = spawn_shell(command);
    if (!pid) return pid.error();
    Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
    if (!pidfd) return error("cannot watch process {}: {}", *pid, strerror(errno));
    new Handler(loop, running, std::move(pidfd), std::move(done));
    return Ok{};
}

Handler::Handler(Loop& loop, List<Handler, Handler>& running, Fd pidfd, Done done)
    : running_(&running), pidfd_(std::move(pidfd)), done_(std::move(done)), wait_(loop, *this) {
    running_->push_back(*this);
    wait_.poll(pidfd_.get(), POLLIN);
}

void Handler::abandon() {
    done_ = nullptr;
    wait_.cancel();
}

void Handler::ended(int) {
    const Done done = std::move(done_);
    const int exit_code = done ? exit_code_of(pidfd_.get()) : 0;
    running_->remove(*this);
    delete this;
    if (done) done(exit_code);
}

}  // namespace duplex::runtime
