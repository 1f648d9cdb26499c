#include "tools/duplex/top_screen.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "control/proc_text.hpp"
#include "control/words.hpp"

namespace duplex::tool {
namespace {

using wire::ConnState;
using wire::DiskState;
using wire::Role;

constexpr std::string_view bold = "1";
constexpr std::string_view reverse = "7";
constexpr std::string_view good = "1;32";
constexpr std::string_view bad = "1;31";
constexpr std::string_view changing = "1;33";
constexpr std::string_view primary = "1;36";

// A line that knows how much of the screen it takes.
class Line {
  public:
    explicit Line(size_t width) : width_(width) {}

    Line& add(std::string_view text, std::string_view color = {}) {
        const std::string_view fitting = text.substr(0, width_ - column_);
        column_ += fitting.size();
        if (color.empty() || fitting.empty()) {
            text_ += fitting;
        } else {
            text_ += fmt::format("\033[{}m{}\033[0m", color, fitting);
        }
        return *this;
    }
    std::string take() { return std::move(text_); }

  private:
    size_t width_;
    size_t column_ = 0;
    std::string text_;
};

std::string_view disk_color(DiskState disk) {
    if (disk == DiskState::up_to_date) return good;
    const bool lost = disk == DiskState::diskless || disk == DiskState::failed ||
                      disk == DiskState::inconsistent || disk == DiskState::outdated;
    return lost ? bad : changing;
}

std::string_view connection_color(ConnState state) {
    if (state == ConnState::connected) return good;
    return state == ConnState::stand_alone ? bad : changing;
}

std::string state_line(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume,
                       size_t width) {
    const wire::State& state = volume.state;
    Line line(width);
    line.add(fmt::format("{}/{}", resource.name, volume.volume), bold);
    line.add(fmt::format("  minor {}  ", volume.minor));
    line.add(name_of(state.role), state.role == Role::primary ? primary : "");
    line.add("/").add(name_of(state.peer)).add("  ");
    line.add(name_of(state.conn), connection_color(state.conn)).add("  ");
    line.add(name_of(state.disk), disk_color(state.disk)).add("/");
    line.add(name_of(state.pdsk), disk_color(state.pdsk));
    if (control::is_suspended(state)) line.add("  suspended:").add(control::suspension_words(resource), bad);
    return line.take();
}

std::string progress_line(const engine::VolumeStatus& volume, size_t width) {
    constexpr unsigned bar_columns = 30;
    const control::ProgressNumbers numbers = control::progress_numbers(*volume.sync, volume.state.conn);
    const unsigned per_mille = control::progress_per_mille(numbers.total_bits, numbers.left_bits);
    const unsigned filled = std::min(per_mille * bar_columns / 1000, bar_columns);
    const uint64_t rest_s = control::rest_seconds(numbers);
    Line line(width);
    line.add(fmt::format("    {} [", numbers.verify ? "verify" : "resync"));
    line.add(std::string(filled, '#'), good).add(std::string(bar_columns - filled, '.')).add("] ");
    line.add(fmt::format("{}.{}%", per_mille / 10, per_mille % 10), bold);
    const bool moves = control::speed_kib(numbers) > 0 && !numbers.stalled;
    line.add(moves ? fmt::format("  {}:{:02}:{:02} left at {:.1f} MB/s", rest_s / 3600, rest_s % 3600 / 60,
                                 rest_s % 60, static_cast<double>(control::speed_kib(numbers)) * 1024 / 1e6)
                   : std::string("  stands still"),
             moves ? "" : bad);
    return line.take();
}

double megabytes(double kib) {
    return kib * 1024 / 1e6;
}

std::string amount(uint64_t kib) {
    constexpr uint64_t step = 1024;
    if (kib < 10 * step) return fmt::format("{} KiB", kib);
    if (kib < 10 * step * step) return fmt::format("{} MiB", kib / step);
    return fmt::format("{} GiB", kib / (step * step));
}

}  // namespace

TopScreen::Rates TopScreen::rates_between(const engine::VolumeCounters& before,
                                          const engine::VolumeCounters& now, double seconds) {
    // Counters begin anew with an attach or a connect.
    const auto rate = [seconds](uint64_t old_count, uint64_t new_count) {
        return new_count > old_count ? static_cast<double>(new_count - old_count) / seconds : 0.0;
    };
    Rates rates;
    rates.reads = rate(before.app_reads, now.app_reads);
    rates.writes = rate(before.app_writes, now.app_writes);
    const double requests = rates.reads + rates.writes;
    rates.latency_ms = requests > 0 ? rate(before.app_ms, now.app_ms) / requests : 0;
    rates.read_kib = rate(before.read_kib, now.read_kib);
    rates.written_kib = rate(before.written_kib, now.written_kib);
    rates.sent_kib = rate(before.sent_kib, now.sent_kib);
    rates.received_kib = rate(before.received_kib, now.received_kib);
    return rates;
}

void TopScreen::update(control::NodeStatus node, uint64_t time_ms) {
    const double seconds = static_cast<double>(time_ms - time_ms_) / 1000;
    std::map<VolumeKey, engine::VolumeCounters> now;
    rates_.clear();
    for (const engine::ResourceStatus& resource : node.resources) {
        for (const engine::VolumeStatus& volume : resource.volumes) {
            const VolumeKey key(resource.name, volume.volume);
            const auto before = last_.find(key);
            if (before != last_.end() && seconds > 0)
                rates_[key] = rates_between(before->second, volume.counters, seconds);
            now[key] = volume.counters;
        }
    }
    last_ = std::move(now);
    node_ = std::move(node);
    time_ms_ = time_ms;
}

std::vector<std::string> TopScreen::lines(const std::string& title, size_t width, size_t height) const {
    std::vector<std::string> all;
    std::string head = fmt::format("{}  {} resources", title, node_.resources.size());
    head.resize(width, ' ');
    all.push_back(Line(width).add(head, reverse).take());
    for (const engine::ResourceStatus& resource : node_.resources) {
        all.emplace_back();
        if (resource.volumes.empty())
            all.push_back(Line(width).add(resource.name, bold).add("  no volumes").take());
        for (const engine::VolumeStatus& volume : resource.volumes) {
            all.push_back(state_line(resource, volume, width));
            if (volume.sync) all.push_back(progress_line(volume, width));
            const auto found = rates_.find({resource.name, volume.volume});
            const Rates rates = found != rates_.end() ? found->second : Rates{};
            Line line(width);
            line.add(fmt::format("    {:.0f} reads/s {:.0f} writes/s {:.2f} ms", rates.reads, rates.writes,
                                 rates.latency_ms));
            line.add(fmt::format("  disk r{:.1f} w{:.1f}  net s{:.1f} r{:.1f} MB/s",
                                 megabytes(rates.read_kib), megabytes(rates.written_kib),
                                 megabytes(rates.sent_kib), megabytes(rates.received_kib)));
            all.push_back(line.take());
            if (volume.out_of_sync_bits > 0) {
                all.push_back(
                    Line(width)
                        .add(fmt::format("    out of sync: {}", amount(volume.out_of_sync_bits * 4)),
                             changing)
                        .take());
            }
        }
    }
    for (const control::SilentResource& silent : node_.silent) {
        all.emplace_back();
        all.push_back(Line(width).add(silent.name, bold).add("  ").add(silent.why, bad).take());
    }
    if (node_.resources.empty() && node_.silent.empty()) {
        all.emplace_back();
        all.push_back(Line(width).add("no resources").take());
    }
    all.resize(std::min(all.size(), height));
    return all;
}

}  // namespace duplex::tool
