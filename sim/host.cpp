#include "sim/host.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace duplex::sim {

void Journal::add(std::string_view who, std::string_view line) {
    const uint64_t now = scheduler_.now_us();
    std::string text = fmt::format("{:5}.{:06} {:5} {}", now / 1'000'000, now % 1'000'000, who, line);
    if (verbose) fmt::print("{}\n", text);
    lines_.push_back(std::move(text));
    if (lines_.size() > lines_max) lines_.pop_front();
}

void Journal::print(std::FILE* out) const {
    for (const std::string& line : lines_) fmt::print(out, "{}\n", line);
}

size_t Journal::count(std::string_view text) const {
    return static_cast<size_t>(std::count_if(lines_.begin(), lines_.end(), [text](const std::string& line) {
        return line.find(text) != std::string::npos;
    }));
}

void Host::log(engine::LogLevel, std::string_view line) {
    if (line.find("Split-Brain detected") != std::string_view::npos) ++split_brains_detected;
    journal_.add(name_, line);
    const size_t solved = line.find(" primaries, automatically solved. Sync from ");
    const size_t minor = line.find("drbd") + 4;  // which is the volume's number
    if (solved != std::string_view::npos && solved > minor && split_brain_solved)
        split_brain_solved(static_cast<unsigned>(line[minor] - '0'),
                           static_cast<unsigned>(line[solved - 1] - '0'),
                           line.find("Sync from this") != std::string_view::npos);
}

void Host::random_bytes(std::span<uint8_t> bytes) {
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(scheduler_.random.next());
}

// Every disk of a simulated node has one user.
Result<engine::Disk*> Host::open_disk(const std::string& path, std::optional<uint32_t>) {
    const auto found = disks_.find(path);
    if (found == disks_.end()) return error("{}: no such device", path);
    if (found->second.open) return error("{}: device is busy", path);
    found->second.open = true;
    return found->second.disk;
}

void Host::close_disk(engine::Disk& disk) {
    for (auto& [path, device] : disks_)
        if (device.disk == &disk) device.open = false;
}

void Host::run_handler(std::string_view name, int, std::function<void(int)> done) {
    const auto fixed = exit_codes.find(name);
    const int drawn = scheduler_.random.chance(model_.failing_percent)
                          ? static_cast<int>(1 + scheduler_.random.below(7))
                          : 0;
    const int code = fixed == exit_codes.end() ? drawn : fixed->second;
    journal_.add(name_, fmt::format("handler {} ({})", name, code));
    if (handler_called) handler_called(name);
    const uint64_t delay_us = scheduler_.random.below(model_.delay_us_max + 1);
    handlers_.push_back(scheduler_.after(delay_us, [this, code, done = std::move(done)] {
        done(code);
        turn_.turn();
    }));
    if (handlers_.size() > 64) handlers_.erase(handlers_.begin());
}

void Host::power_off() {
    for (const Scheduler::EventId event : handlers_) scheduler_.cancel(event);
    handlers_.clear();
    for (auto& [path, device] : disks_) device.open = false;
}

}  // namespace duplex::sim
