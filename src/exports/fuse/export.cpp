#include "exports/fuse/export.hpp"

#include <cerrno>
#include <cstring>
#include <sys/prctl.h>
#include <utility>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "exports/directory.hpp"

namespace duplex::exports::fuse {

namespace {

// Memory that is short must not be found by writing back pages to the device that this very thread serves.
void avoid_waiting_for_ourselves(unsigned minor, const Log& log) {
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0) return;
    log(engine::LogLevel::info,
        fmt::format(
            "block drbd{}: PR_SET_IO_FLUSHER: {}: under memory pressure the device could wait for itself",
            minor, strerrordesc_np(errno)));
}

}  // namespace

Export::Export(runtime::Loop& loop, engine::Volume& volume, const Log& log)
    : volume_(volume), log_(log), file_(loop, volume, log), device_(loop, volume, log) {}

Export::~Export() {
    ensure(!started_);
}

Status Export::start(const std::string& file_path, const std::string& device_path) {
    if (Status made = make_directory_of(file_path); !made) return made;
    if (Status mounted = file_.mount(file_path); !mounted) return mounted;
    started_ = true;
    avoid_waiting_for_ourselves(volume_.minor(), log_);
    volume_.add_watcher(*this);
    return device_.start(file_path, device_path);
}

void Export::when_settled(std::function<void(Status)> done) {
    device_.when_settled(std::move(done));
}

void Export::check_unused(std::function<void(std::string who)> done) {
    device_.check_unused(std::move(done));
}

void Export::stop(std::function<void()> done) {
    stopped_ = std::move(done);
    if (started_) volume_.remove_watcher(*this);
    started_ = false;
    device_.detach([this] { file_.unmount([this] { file_stopped(); }); });
}

void Export::file_stopped() {
    std::exchange(stopped_, nullptr)();
}

void Export::size_changed(uint64_t) {
    device_.volume_changed();
}

void Export::primary_changed(bool) {
    device_.volume_changed();
}

}  // namespace duplex::exports::fuse
