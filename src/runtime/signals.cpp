#include "runtime/signals.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/signalfd.h>

namespace duplex::runtime {

Result<std::unique_ptr<Signals>> Signals::open(Loop& loop, std::initializer_list<int> signals,
                                               SignalEvents& events) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal_number : signals) sigaddset(&set, signal_number);
    if (const int code = pthread_sigmask(SIG_BLOCK, &set, nullptr); code != 0)
        return error("cannot block signals: {}", strerror(code));
    Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) return error("cannot open a signalfd: {}", strerror(errno));
    return std::unique_ptr<Signals>(new Signals(loop, std::move(fd), events));
}

Signals::Signals(Loop& loop, Fd fd, SignalEvents& events)
    : fd_(std::move(fd)), events_(&events), poll_(loop, *this) {
    poll_.poll(fd_.get(), POLLIN);
}

void Signals::close() {
    closed_ = true;
    poll_.cancel();
}

// Read by this thread itself: on Linux 6.1 io_uring would leave the read to a worker thread, which does not
// see signals sent to this one.
void Signals::ready(int) {
    signalfd_siginfo info{};
    while (!closed_ && ::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
        events_->signalled(static_cast<int>(info.ssi_signo));
    if (!closed_) poll_.poll(fd_.get(), POLLIN);
}

}  // namespace duplex::runtime
