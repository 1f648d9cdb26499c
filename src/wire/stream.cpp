#include "wire/stream.hpp"

#include <algorithm>
#include <cstring>

#include "base/ensure.hpp"

namespace duplex::wire {

void PacketReader::set_agreement(const Agreement& agreement) {
    ensure(at_packet_start());
    agreement_ = agreement;
}

size_t PacketReader::body_bytes() const {
    const size_t all = size_t{info_.fixed_bytes} + info_.digest_bytes + info_.variable_bytes;
    return carries_data_block(info_.command()) ? all - info_.variable_bytes : all;
}

std::span<uint8_t> PacketReader::wanted() {
    switch (stage_) {
        case Stage::header:
            return std::span(header_)
                .first(header_bytes(header_format(agreement_.phase)))
                .subspan(filled_bytes_);
        case Stage::body:
            return std::span(body_).first(body_bytes()).subspan(filled_bytes_);
        case Stage::data_buffer:
            return {};
        case Stage::data:
            return data_.subspan(filled_bytes_);
    }
    return {};
}

PacketReader::Event PacketReader::packet_complete() {
    stage_ = Stage::header;
    filled_bytes_ = 0;
    return Event::packet;
}

Result<PacketReader::Event> PacketReader::header_complete() {
    const auto header = decode_header(header_format(agreement_.phase), header_);
    header_unreadable_ = !header;
    if (!header) return header.error();
    const auto info = check_packet(socket_, *header, agreement_);
    if (!info) return info.error();
    info_ = *info;
    filled_bytes_ = 0;
    if (body_bytes() == 0) return packet_complete();
    // check_packet() bounds every length: the longest body is a bitmap packet, which has no fixed part.
    ensure(body_bytes() <= body_.size());
    stage_ = Stage::body;
    return Event::none;
}

Result<PacketReader::Event> PacketReader::arrived(size_t count_bytes) {
    const size_t wanted_bytes = wanted().size();
    ensure(stage_ != Stage::data_buffer && count_bytes <= wanted_bytes);
    filled_bytes_ += count_bytes;
    if (count_bytes < wanted_bytes) return Event::none;
    if (stage_ == Stage::header) return header_complete();
    if (stage_ == Stage::body && carries_data_block(info_.command())) {
        stage_ = Stage::data_buffer;
        return Event::head;
    }
    return packet_complete();
}

void PacketReader::set_data_buffer(std::span<uint8_t> buffer) {
    ensure(stage_ == Stage::data_buffer && buffer.size() == info_.variable_bytes);
    data_ = buffer;
    filled_bytes_ = 0;
    stage_ = Stage::data;
}

Result<PacketReader::Fed> PacketReader::feed(std::span<const uint8_t> bytes) {
    Fed fed;
    while (fed.event == Event::none && fed.consumed_bytes < bytes.size()) {
        const std::span<uint8_t> place = wanted();
        const size_t count = std::min(place.size(), bytes.size() - fed.consumed_bytes);
        std::memcpy(place.data(), bytes.data() + fed.consumed_bytes, count);
        fed.consumed_bytes += count;
        const auto event = arrived(count);
        if (!event) return event.error();
        fed.event = *event;
    }
    return fed;
}

std::span<const uint8_t> PacketReader::variable() const {
    if (carries_data_block(info_.command())) return data_;
    return std::span(body_).subspan(size_t{info_.fixed_bytes} + info_.digest_bytes, info_.variable_bytes);
}

std::span<const uint8_t> PacketReader::body() const {
    const bool text = info_.command() == Command::protocol || info_.command() == Command::protocol_update;
    return std::span(body_).first(info_.fixed_bytes + (text ? info_.variable_bytes : 0));
}

}  // namespace duplex::wire
