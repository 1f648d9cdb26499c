#include "tools/drbdsetup/output.hpp"

#include <cerrno>
#include <string_view>
#include <unistd.h>

namespace duplex::drbdsetup {
namespace {

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t length = write(fd, text.data(), text.size());
        if (length < 0 && errno != EINTR) return false;
        if (length > 0) text.remove_prefix(static_cast<size_t>(length));
    }
    return true;
}

}  // namespace

Output::Output(int fd) : fd_(fd), writer_([this] { write_on(); }) {}

Output::~Output() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    changed_.notify_all();
    writer_.join();
}

bool Output::put(const std::string& text) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return broken_ || pending_.size() < pending_bytes_max; });
    pending_ += text;
    changed_.notify_all();
    return !broken_;
}

void Output::write_on() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return closing_ || !pending_.empty(); });
        if (pending_.empty()) return;
        std::string text;
        text.swap(pending_);
        changed_.notify_all();
        lock.unlock();
        const bool written = write_all(fd_, text);
        lock.lock();
        if (!written) {
            broken_ = true;
            changed_.notify_all();
            return;
        }
    }
}

}  // namespace duplex::drbdsetup
