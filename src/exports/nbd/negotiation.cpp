#include "exports/nbd/negotiation.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace duplex::exports::nbd {

namespace {

constexpr size_t option_header_bytes = 16;
constexpr size_t zero_padding_bytes = 124;  // after the answer to NBD_OPT_EXPORT_NAME, for old clients

template <typename T>
void append_be(std::vector<uint8_t>& out, T value) {
    const size_t at = out.size();
    out.resize(at + sizeof value);
    store_be(out.data() + at, value);
}

std::string_view text_of(std::span<const uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A name from outside, fit for a log line.
std::string printable(std::string_view name) {
    constexpr size_t shown_max = 64;
    std::string shown;
    for (const char c : name.substr(0, shown_max)) shown += (c >= ' ' && c <= '~') ? c : '?';
    if (name.size() > shown_max) shown += "...";
    return shown;
}

}  // namespace

uint16_t transmission_flags(const ExportFacts& facts) {
    uint16_t flags =
        export_has_flags | export_send_flush | export_send_fua | export_send_df | export_can_multi_conn;
    if (facts.read_only) return flags | export_read_only;
    flags |= export_send_write_zeroes;
    if (facts.can_trim) flags |= export_send_trim;
    return flags;
}

void Negotiation::greet(std::vector<uint8_t>& out) {
    append_be(out, init_magic);
    append_be(out, option_magic);
    append_be(out, static_cast<uint16_t>(flag_fixed_newstyle | flag_no_zeroes));
}

size_t Negotiation::received(std::span<const uint8_t> in, std::vector<uint8_t>& out) {
    size_t taken = 0;
    while (outcome_ == Outcome::going_on) {
        const std::span<const uint8_t> rest = in.subspan(taken);
        const size_t answered = out.size();
        size_t step = 0;
        switch (expect_) {
            case Expect::client_flags:
                step = take_client_flags(rest);
                break;
            case Expect::option:
                step = take_option(rest, out);
                break;
            case Expect::skipped:
                step = take_skipped(rest, out);
                break;
        }
        taken += step;
        if (step == 0 || out.size() != answered) break;
    }
    return taken;
}

size_t Negotiation::take_client_flags(std::span<const uint8_t> in) {
    if (in.size() < 4) return 0;
    const auto flags = load_be<uint32_t>(in.data());
    if (flags & ~(client_flag_fixed_newstyle | client_flag_no_zeroes)) {
        hang_up(fmt::format("unknown handshake flags {:#x}", flags));
        return 4;
    }
    fixed_newstyle_ = flags & client_flag_fixed_newstyle;
    no_zeroes_ = flags & client_flag_no_zeroes;
    expect_ = Expect::option;
    return 4;
}

size_t Negotiation::take_option(std::span<const uint8_t> in, std::vector<uint8_t>& out) {
    if (in.size() < option_header_bytes) return 0;
    if (load_be<uint64_t>(in.data()) != option_magic) {
        hang_up("an option without its magic number");
        return option_header_bytes;
    }
    option_ = Option{load_be<uint32_t>(in.data() + 8)};
    const auto length_bytes = load_be<uint32_t>(in.data() + 12);
    const auto number = static_cast<uint32_t>(option_);

    if (length_bytes > option_bytes_max) {
        if (option_ == Option::export_name || length_bytes > skipped_bytes_max) {
            hang_up(fmt::format("option {} with {} bytes of data", number, length_bytes));
        }
        skip_bytes_ = length_bytes;
        expect_ = Expect::skipped;
        return option_header_bytes;
    }
    if (in.size() < option_header_bytes + length_bytes) return 0;
    if (++options_ > options_max) {
        hang_up(fmt::format("more than {} options", options_max));
    } else if (!fixed_newstyle_ && option_ != Option::export_name) {
        hang_up(fmt::format("option {} without having asked for the fixed newstyle handshake", number));
    } else {
        answer(in.subspan(option_header_bytes, length_bytes), out);
    }
    return option_header_bytes + length_bytes;
}

size_t Negotiation::take_skipped(std::span<const uint8_t> in, std::vector<uint8_t>& out) {
    const auto step = static_cast<uint32_t>(std::min<size_t>(in.size(), skip_bytes_));
    skip_bytes_ -= step;
    if (skip_bytes_ > 0) return step;
    expect_ = Expect::option;
    if (++options_ > options_max) {
        hang_up(fmt::format("more than {} options", options_max));
    } else {
        refuse(out, OptionReply::error_too_big,
               fmt::format("option data longer than {} bytes", option_bytes_max));
    }
    return step;
}

void Negotiation::answer(std::span<const uint8_t> data, std::vector<uint8_t>& out) {
    const bool takes_data = option_ == Option::export_name || option_ == Option::info ||
                            option_ == Option::go || option_ == Option::abort;
    const bool known =
        option_ == Option::list || option_ == Option::starttls || option_ == Option::structured_reply;
    if (known && !takes_data && !data.empty()) {
        refuse(out, OptionReply::error_invalid, "this option has no data");
        return;
    }
    switch (option_) {
        case Option::export_name:
            export_name(data, out);
            return;
        case Option::info:
        case Option::go:
            info_or_go(data, out);
            return;
        case Option::list:
            list(out);
            return;
        case Option::abort:
            reply(out, OptionReply::ack);
            outcome_ = Outcome::close;
            return;
        case Option::starttls:
            refuse(out, OptionReply::error_policy, "TLS is not offered on this socket");
            return;
        case Option::structured_reply:
            if (structured_replies_) {
                refuse(out, OptionReply::error_invalid, "structured replies are already negotiated");
                return;
            }
            structured_replies_ = true;
            reply(out, OptionReply::ack);
            return;
        // Which blocks are allocated is the backing disk's secret, so no meta context exists.
        case Option::list_meta_context:
        case Option::set_meta_context:
            break;
    }
    refuse(out, OptionReply::error_unsupported, "this option is not supported");
}

// The old way to choose: it knows no refusal but hanging up.
void Negotiation::export_name(std::span<const uint8_t> data, std::vector<uint8_t>& out) {
    const std::string_view name = text_of(data);
    if (name.size() > name_bytes_max || !host_.has_name(name)) {
        hang_up(fmt::format("asked for the unknown export '{}'", printable(name)));
        return;
    }
    const Result<ExportFacts> facts = host_.open_export();
    if (!facts) {
        hang_up(facts.error().text);
        return;
    }
    append_be(out, facts->size_bytes);
    append_be(out, transmission_flags(*facts));
    if (!no_zeroes_) out.resize(out.size() + zero_padding_bytes);
    outcome_ = Outcome::transmission;
}

// Data: u32 length, name, u16 count, count times u16 wanted information.
void Negotiation::info_or_go(std::span<const uint8_t> data, std::vector<uint8_t>& out) {
    if (data.size() < 6) {
        refuse(out, OptionReply::error_invalid, "option data too short");
        return;
    }
    const uint64_t name_bytes = load_be<uint32_t>(data.data());
    if (name_bytes > name_bytes_max || data.size() < 6 + name_bytes) {
        refuse(out, OptionReply::error_invalid, "export name longer than allowed or than the option's data");
        return;
    }
    const std::string_view name = text_of(data.subspan(4, name_bytes));
    const uint64_t wanted_count = load_be<uint16_t>(data.data() + 4 + name_bytes);
    const std::span<const uint8_t> wanted = data.subspan(6 + name_bytes);
    if (wanted.size() != 2 * wanted_count) {
        refuse(out, OptionReply::error_invalid, "option data does not end where its counts say");
        return;
    }
    if (!host_.has_name(name)) {
        refuse(out, OptionReply::error_unknown, fmt::format("no export '{}' here", printable(name)));
        return;
    }
    const bool go = option_ == Option::go;
    const Result<ExportFacts> facts = go ? host_.open_export() : host_.look_at_export();
    if (!facts) {
        if (go) host_.log_client(facts.error().text);
        refuse(out, OptionReply::error_policy, facts.error().text);
        return;
    }
    send_infos(*facts, wanted, out);
    reply(out, OptionReply::ack);
    if (go) outcome_ = Outcome::transmission;
}

void Negotiation::send_infos(const ExportFacts& facts, std::span<const uint8_t> wanted,
                             std::vector<uint8_t>& out) {
    std::vector<uint8_t> data;
    append_be(data, static_cast<uint16_t>(Info::export_));
    append_be(data, facts.size_bytes);
    append_be(data, transmission_flags(facts));
    reply(out, OptionReply::info, data);

    data.clear();
    append_be(data, static_cast<uint16_t>(Info::block_size));
    append_be(data, block_bytes_min);
    append_be(data, block_bytes_preferred);
    append_be(data, block_bytes_max);
    reply(out, OptionReply::info, data);

    bool name_sent = false, description_sent = false;
    for (size_t at = 0; at < wanted.size(); at += 2) {
        const Info info{load_be<uint16_t>(wanted.data() + at)};
        const bool name = info == Info::name && !name_sent;
        const bool description = info == Info::description && !description_sent;
        if (!name && !description) continue;
        (name ? name_sent : description_sent) = true;
        const auto text = bytes_of(name ? host_.canonical_name() : host_.description());
        data.clear();
        append_be(data, static_cast<uint16_t>(info));
        data.insert(data.end(), text.begin(), text.end());
        reply(out, OptionReply::info, data);
    }
}

void Negotiation::list(std::vector<uint8_t>& out) {
    const auto name = bytes_of(host_.canonical_name());
    const auto description = bytes_of(host_.description());
    std::vector<uint8_t> data;
    append_be(data, static_cast<uint32_t>(name.size()));
    data.insert(data.end(), name.begin(), name.end());
    data.insert(data.end(), description.begin(), description.end());
    reply(out, OptionReply::server, data);
    reply(out, OptionReply::ack);
}

void Negotiation::reply(std::vector<uint8_t>& out, OptionReply type, std::span<const uint8_t> data) {
    append_be(out, option_reply_magic);
    append_be(out, static_cast<uint32_t>(option_));
    append_be(out, static_cast<uint32_t>(type));
    append_be(out, static_cast<uint32_t>(data.size()));
    out.insert(out.end(), data.begin(), data.end());
}

void Negotiation::refuse(std::vector<uint8_t>& out, OptionReply type, std::string_view why) {
    reply(out, type, bytes_of(why));
}

void Negotiation::hang_up(std::string_view why) {
    host_.log_client(why);
    outcome_ = Outcome::close;
}

}  // namespace duplex::exports::nbd
