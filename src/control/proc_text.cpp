#include "control/proc_text.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "control/words.hpp"

namespace duplex::control {
namespace {

using wire::ConnState;

// Scripts skip two lines before the devices; the second tells the kernel module's source, or in our case that
// there is none.
constexpr std::string_view header =
    "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: Duplex-0.1.0            \n";

constexpr uint64_t kib_per_bit = 4;

bool shows_progress(ConnState state) {
    return state >= ConnState::sync_source && state <= ConnState::verify_t;
}

std::string grouped(uint64_t number) {
    std::string digits = std::to_string(number);
    for (size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, ",");
    }
    return digits;
}

std::string bar(unsigned per_mille) {
    const unsigned x = per_mille / 50;
    return '[' + std::string(x > 1 ? x - 1 : 0, '=') + '>' + std::string(20 - x, '.') + "] ";
}

char protocol_letter(const engine::ConnectionStatus& connection) {
    if (!connection.configured) return ' ';
    return static_cast<char>('A' + static_cast<int>(connection.options.protocol) -
                             static_cast<int>(config::Protocol::a));
}

char write_ordering_letter(engine::WriteOrdering ordering) {
    return write_ordering_word(ordering).front();
}

std::string device_line(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume) {
    const wire::State& state = volume.state;
    return fmt::format("{:2}: cs:{} ro:{}/{} ds:{}/{} {} {}{}{}{}-{}\n", volume.minor, name_of(state.conn),
                       name_of(state.role), name_of(state.peer), name_of(state.disk), name_of(state.pdsk),
                       protocol_letter(resource.connection), is_suspended(state) ? 's' : 'r',
                       state.aftr_isp ? 'a' : '-', state.peer_isp ? 'p' : '-', state.user_isp ? 'u' : '-',
                       volume.al_suspended ? 's' : '-');
}

std::string counter_line(const engine::VolumeStatus& volume) {
    const engine::VolumeCounters& counters = volume.counters;
    return fmt::format("    ns:{} nr:{} dw:{} dr:{} al:{} bm:{} lo:{} pe:{} ua:{} ap:{} ep:{} wo:{} oos:{}\n",
                       wrapped(counters.sent_kib), wrapped(counters.received_kib),
                       wrapped(counters.written_kib), wrapped(counters.read_kib), wrapped(counters.al_writes),
                       wrapped(counters.bitmap_writes), counters.local_pending, counters.peer_pending,
                       counters.unacked, counters.app_pending, volume.epochs,
                       write_ordering_letter(volume.write_ordering), volume.out_of_sync_bits * kib_per_bit);
}

}  // namespace

ProgressNumbers progress_numbers(const engine::SyncProgress& sync, ConnState state) {
    constexpr uint64_t stalled_after_s = 180;
    const auto seconds = [](uint64_t from_ms, uint64_t to_ms) {
        return to_ms > from_ms ? (to_ms - from_ms) / 1000 : 0;
    };
    const auto done_since = [&sync](uint64_t left_then) {
        return left_then > sync.left_bits ? left_then - sync.left_bits : 0;
    };
    const uint64_t mark_age_s = seconds(sync.mark_ms, sync.now_ms);
    const uint64_t running_s = std::max<uint64_t>(seconds(sync.started_ms + sync.paused_ms, sync.now_ms), 1);
    ProgressNumbers numbers;
    numbers.verify = sync.verify;
    numbers.total_bits = sync.total_bits;
    numbers.left_bits = sync.left_bits;
    numbers.recent_s = std::max<uint64_t>(mark_age_s, 1);
    numbers.recent_bits = done_since(sync.mark_left_bits);
    numbers.average_kib = done_since(sync.total_bits) / running_s * kib_per_bit;
    numbers.shows_wanted = state == ConnState::sync_target || state == ConnState::verify_s;
    numbers.wanted_kib = sync.wanted_kib;
    numbers.stalled = mark_age_s > stalled_after_s;
    return numbers;
}

uint64_t speed_kib(const ProgressNumbers& numbers) {
    return numbers.recent_bits / std::max<uint64_t>(numbers.recent_s, 1) * kib_per_bit;
}

uint64_t rest_seconds(const ProgressNumbers& numbers) {
    const uint64_t left = std::min(numbers.left_bits, numbers.total_bits);
    return std::max<uint64_t>(numbers.recent_s, 1) * (left / (numbers.recent_bits / 100 + 1)) / 100;
}

unsigned progress_per_mille(uint64_t total_bits, uint64_t left_bits) {
    if (left_bits > total_bits) return total_bits == 0 ? 1000 : 0;
    const unsigned shift = total_bits > 0xffffffffu ? 16 : 10;
    return static_cast<unsigned>(1000 - (left_bits >> shift) * 1000 / ((total_bits >> shift) + 1));
}

std::string progress_lines(const ProgressNumbers& numbers) {
    constexpr uint64_t bits_per_4_gib = 1u << 20;
    const uint64_t left = std::min(numbers.left_bits, numbers.total_bits);
    const unsigned per_mille = progress_per_mille(numbers.total_bits, numbers.left_bits);
    const bool in_mib = numbers.total_bits > bits_per_4_gib;
    const auto amount = [in_mib](uint64_t bits) { return (in_mib ? bits >> 10 : bits) * kib_per_bit; };

    std::string text = fmt::format("\t{}{}{:3}.{}% ({}/{}){}\n", bar(per_mille),
                                   numbers.verify ? "verified:" : "sync'ed:", per_mille / 10, per_mille % 10,
                                   amount(left), amount(numbers.total_bits), in_mib ? 'M' : 'K');
    const uint64_t rest_s = rest_seconds(numbers);
    text += fmt::format("\tfinish: {}:{:02}:{:02} speed: {} ({})", rest_s / 3600, rest_s % 3600 / 60,
                        rest_s % 60, grouped(speed_kib(numbers)), grouped(numbers.average_kib));
    if (numbers.shows_wanted) text += fmt::format(" want: {}", grouped(numbers.wanted_kib));
    return text + (numbers.stalled ? " K/sec (stalled)\n" : " K/sec\n");
}

std::string proc_device_text(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume) {
    if (is_unconfigured(volume)) return fmt::format("{:2}: cs:Unconfigured\n", volume.minor);
    std::string text = device_line(resource, volume) + counter_line(volume);
    if (volume.sync && shows_progress(volume.state.conn)) {
        text += progress_lines(progress_numbers(*volume.sync, volume.state.conn));
    }
    return text;
}

std::string proc_text(std::span<const engine::ResourceStatus> resources,
                      std::span<const SilentMinor> silent) {
    std::map<unsigned, std::string> devices;
    for (const SilentMinor& minor : silent) {
        devices[minor.minor] = fmt::format("{:2}: cs:Unknown (process of resource {} {})\n", minor.minor,
                                           minor.resource, minor.dead ? "has died" : "does not answer");
    }
    for (const engine::ResourceStatus& resource : resources) {
        for (const engine::VolumeStatus& volume : resource.volumes) {
            devices[volume.minor] = proc_device_text(resource, volume);
        }
    }
    std::string text(header);
    unsigned expected = 0;
    for (const auto& [minor, device] : devices) {
        if (minor != expected) text += '\n';
        text += device;
        expected = minor + 1;
    }
    return text;
}

}  // namespace duplex::control
