#include "control/status_text.hpp"

#include <string_view>

#include <fmt/format.h>

#include "control/words.hpp"

namespace duplex::control {
namespace {

using wire::ConnState;
using wire::DiskState;
using wire::Role;

enum class Paint : uint8_t { none, good_role, good, bad, transitional };

// Where an object stands: what is the peer's is painted less brightly.
enum class Side : uint8_t { local, peer };

std::string_view escape_of(Paint paint, Side side) {
    switch (paint) {
        case Paint::none:
            return {};
        case Paint::good_role:
            return side == Side::local ? "\033[1;36m" : "\033[36m";
        case Paint::good:
            return side == Side::local ? "\033[1;32m" : "\033[32m";
        case Paint::bad:
            return side == Side::local ? "\033[1;31m" : "\033[31m";
        case Paint::transitional:
            return side == Side::local ? "\033[1m" : "";
    }
    return {};
}

// Words on lines that break before the word that would pass the width (cli 23).
class Lines {
  public:
    explicit Lines(const StatusStyle& style) : style_(style) {}

    // What follows belongs to a new object: its first line is indented by first, the others by rest.
    void begin(unsigned first, unsigned rest) {
        end_line();
        next_indent_ = first;
        rest_indent_ = rest;
    }
    void new_line() { end_line(); }

    void plain(std::string_view text) { add(text, text.size()); }
    void word(std::string_view name, std::string_view value, Paint paint = Paint::none,
              Side side = Side::local) {
        const std::string_view escape = style_.color ? escape_of(paint, side) : std::string_view();
        const std::string text = escape.empty() ? fmt::format("{}:{}", name, value)
                                                : fmt::format("{}:{}{}\033[0m", name, escape, value);
        add(text, name.size() + 1 + value.size());
    }
    void word(std::string_view name, uint64_t value) { word(name, std::to_string(value)); }

    std::string finish() {
        end_line();
        return std::move(text_) + '\n';
    }

  private:
    void add(std::string_view text, size_t columns) {
        if (column_ > 0 && column_ + 1 + columns > style_.width) end_line();
        if (column_ == 0) {
            text_ += std::string(next_indent_, ' ');
            column_ = next_indent_;
            next_indent_ = rest_indent_;
        } else {
            text_ += ' ';
            ++column_;
        }
        text_ += text;
        column_ += columns;
    }
    void end_line() {
        if (column_ > 0) text_ += '\n';
        column_ = 0;
    }

    const StatusStyle& style_;
    std::string text_;
    size_t column_ = 0;
    unsigned next_indent_ = 0;
    unsigned rest_indent_ = 0;
};

Paint paint_of(Role role) {
    return role == Role::primary ? Paint::good_role : Paint::none;
}

Paint paint_of(DiskState disk) {
    switch (disk) {
        case DiskState::up_to_date:
            return Paint::good;
        case DiskState::attaching:
        case DiskState::negotiating:
        case DiskState::consistent:
            return Paint::transitional;
        default:
            return Paint::bad;
    }
}

Paint connection_paint(ConnState state) {
    if (state >= ConnState::wf_report_params) return Paint::none;
    const bool lost = state == ConnState::stand_alone ||
                      (state >= ConnState::timeout && state <= ConnState::protocol_error);
    return lost ? Paint::bad : Paint::transitional;
}

Paint replication_paint(ConnState state) {
    return state > ConnState::connected ? Paint::transitional : Paint::none;
}

class StatusWriter {
  public:
    StatusWriter(const engine::ResourceStatus& resource, const StatusStyle& style)
        : resource_(resource),
          style_(style),
          lines_(style),
          connected_(resource.connection.state >= ConnState::wf_report_params),
          names_volumes_(style.verbose || resource.volumes.size() != 1 || resource.volumes[0].volume != 0) {}

    std::string write() {
        write_resource();
        for (const auto& volume : resource_.volumes) write_volume(volume);
        if (resource_.connection.configured) write_peer();
        return lines_.finish();
    }

  private:
    bool full() const { return style_.verbose && style_.statistics; }

    void write_resource() {
        lines_.begin(0, 4);
        lines_.plain(resource_.name);
        const Role role = role_of(resource_);
        lines_.word("role", name_of(role), paint_of(role));
        const std::string suspended = suspension_words(resource_);
        if (style_.verbose || suspended != "no") lines_.word("suspended", suspended);
        if (full()) {
            lines_.new_line();
            lines_.word("write-ordering", write_ordering_word(write_ordering_of(resource_)));
        }
    }

    void write_volume(const engine::VolumeStatus& volume) {
        lines_.begin(2, 6);
        if (names_volumes_) lines_.word("volume", volume.volume);
        if (style_.verbose) lines_.word("minor", volume.minor);
        const DiskState disk = volume.state.disk;
        lines_.word("disk", name_of(disk), paint_of(disk));
        if (style_.statistics) write_volume_counters(volume);
        const std::string_view blocked = blocked_word(volume);
        if (style_.verbose || blocked != "no") lines_.word("blocked", blocked);
    }

    void write_volume_counters(const engine::VolumeStatus& volume) {
        const engine::VolumeCounters& counters = volume.counters;
        lines_.new_line();
        if (full()) lines_.word("size", kib_of_sectors(volume.size_sectors));
        lines_.word("read", wrapped(counters.read_kib));
        lines_.word("written", wrapped(counters.written_kib));
        if (!full()) return;
        lines_.word("al-writes", wrapped(counters.al_writes));
        lines_.word("bm-writes", wrapped(counters.bitmap_writes));
        lines_.word("upper-pending", counters.app_pending);
        lines_.word("lower-pending", counters.local_pending);
        lines_.word("al-suspended", volume.al_suspended ? "yes" : "no");
    }

    void write_peer() {
        const ConnState state = resource_.connection.state;
        lines_.begin(2, 6);
        lines_.plain("peer");
        if (style_.verbose || !connected_)
            lines_.word("connection", connection_word(state), connection_paint(state), Side::peer);
        if (style_.verbose || connected_) {
            const Role role = peer_role_of(resource_);
            lines_.word("role", name_of(role), paint_of(role), Side::peer);
        }
        if (style_.verbose) lines_.word("congested", "no");
        if (!connected_ && !style_.verbose && !style_.statistics) return;
        for (const auto& volume : resource_.volumes) write_peer_device(volume);
    }

    void write_peer_device(const engine::VolumeStatus& volume) {
        const wire::State& state = volume.state;
        const bool replicates = state.conn > ConnState::wf_report_params;
        lines_.begin(4, 8);
        if (names_volumes_) lines_.word("volume", volume.volume);
        if (style_.verbose || replicates) {
            lines_.word("replication", replication_word(state.conn), replication_paint(state.conn),
                        Side::peer);
        }
        if (style_.verbose || style_.statistics || replicates || state.pdsk != DiskState::d_unknown) {
            lines_.word("peer-disk", name_of(state.pdsk), paint_of(state.pdsk), Side::peer);
        }
        if (state.conn >= ConnState::sync_source && state.conn <= ConnState::paused_sync_t) {
            lines_.word("done", done_percent(volume));
        }
        const std::string suspended = resync_suspension_words(state);
        if (style_.verbose || suspended != "no") {
            lines_.word("resync-suspended", suspended);
        }
        if (style_.statistics) write_peer_counters(volume);
    }

    void write_peer_counters(const engine::VolumeStatus& volume) {
        const engine::VolumeCounters& counters = volume.counters;
        lines_.new_line();
        lines_.word("received", wrapped(counters.received_kib));
        lines_.word("sent", wrapped(counters.sent_kib));
        if (style_.verbose || volume.out_of_sync_bits > 0) {
            lines_.word("out-of-sync", volume.out_of_sync_bits * 4);
        }
        if (!full()) return;
        lines_.word("pending", counters.peer_pending);
        lines_.word("unacked", counters.unacked);
    }

    // Of the device, not of the resync (cli 23).
    static std::string done_percent(const engine::VolumeStatus& volume) {
        const double size_kib = static_cast<double>(volume.size_sectors) / 2;
        const double left_kib = static_cast<double>(volume.out_of_sync_bits) * 4;
        return fmt::format("{:.2f}", size_kib > 0 ? 100 * (1 - left_kib / size_kib) : 100.0);
    }

    const engine::ResourceStatus& resource_;
    const StatusStyle& style_;
    Lines lines_;
    bool connected_;
    bool names_volumes_;
};

}  // namespace

std::string status_text(const engine::ResourceStatus& resource, const StatusStyle& style) {
    return StatusWriter(resource, style).write();
}

}  // namespace duplex::control
