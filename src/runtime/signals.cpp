#include "runtime/signals.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/ensure.hpp"

namespace duplex::runtime {

Result<std::unique_ptr<Signals>> Signals::open(Loop& loop, std::initializer_list<int> signals,
                                               SignalEvents& events) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal_number : signals) sigaddset(&set, signal_number);
    if (const int code = pthread_sigmask(SIG_BLOCK, &set, nullptr); code != 0)
        return error("cannot block signals: {}", strerror(code));
    Fd fd(signalfd(-1, &set, SFD_CLOEXEC));
    if (!fd) return error("cannot open a signalfd: {}", strerror(errno));
    return std::unique_ptr<Signals>(new Signals(loop, std::move(fd), events));
}

Signals::Signals(Loop& loop, Fd fd, SignalEvents& events)
    : fd_(std::move(fd)), events_(&events), read_(loop, *this) {
    start_read();
}

void Signals::start_read() {
    read_.read(fd_.get(), {reinterpret_cast<uint8_t*>(&info_), sizeof info_});
}

void Signals::close() {
    closed_ = true;
    read_.cancel();
}

void Signals::arrived(int result) {
    if (closed_) return;
    ensure(result == static_cast<int>(sizeof info_) || result == -EINTR);
    const int signal_number = static_cast<int>(info_.ssi_signo);
    start_read();
    if (result > 0) events_->signalled(signal_number);
}

}  // namespace duplex::runtime
