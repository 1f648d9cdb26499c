#include "sim/wire_watch.hpp"

#include <algorithm>

#include "base/byte_order.hpp"
#include "sim/admission.hpp"
#include "wire/header.hpp"

namespace duplex::sim {

using engine::ConnState;
using wire::Command;

WireWatch::Volume& WireWatch::volume(unsigned number) {
    while (volumes_.size() <= number) volumes_.emplace_back();
    return volumes_[number];
}

WireWatch::Stream& WireWatch::stream(const Socket& socket) {
    const auto [at, is_new] = streams_.try_emplace(&socket);
    if (is_new) at->second.serial = ++last_stream_;
    return at->second;
}

// The connection that its packet was queued on, while the node has it.
WireWatch::Stream* WireWatch::stream_of(const Record& write) {
    const auto found = streams_.find(write.socket);
    return found != streams_.end() && found->second.serial == write.stream ? &found->second : nullptr;
}

void WireWatch::after_run(unsigned side) {
    for (unsigned number = 0; number < volumes_.size(); ++number) follow(side, number);
}

void WireWatch::follow(unsigned side, unsigned number) {
    Moments& moments = volume(number).moments[side];
    const engine::State state = nodes_[side]->state(number);
    if (!engine::replicate(state)) ++moments.apart;
    if (admits_requests(state)) ++moments.open;
}

// ---- the applications
// ----------------------------------------------------------------------------------------------

void WireWatch::issued(unsigned number, WriteId id, const Write& write) {
    Volume& in = volume(number);
    if (in.writes.size() <= id) in.writes.resize(id + 1);
    Record& record = in.writes[id];
    record.side = write.node;
    record.sector = write.sector;
    record.size_sectors = write.size_sectors;
    record.issued = ++sequence_;
    record.moments_apart = in.moments[write.node].apart;
    record.moments_open = in.moments[write.node].open;
    follow(write.node, number);  // it begins in this one
    if (write.tag != 0) {
        in.by_tag[write.tag] = id;
        return;
    }
    for (const WriteId other : in.blank) {
        Record& known = in.writes[other];
        if (known.side == record.side && known.sector == record.sector &&
            known.size_sectors == record.size_sectors)
            known.ambiguous = record.ambiguous = true;
    }
    in.blank.push_back(id);
}

void WireWatch::completed(unsigned number, WriteId id) {
    Volume& in = volume(number);
    Record& record = in.writes[id];
    follow(record.side, number);
    std::erase(in.blank, id);
    record.completed = ++sequence_;
    if (record.ambiguous) return;
    check_progress(record, number);
    Stream* const stream = stream_of(record);
    if (stream && stream->epoch == record.epoch)
        stream->first_completed = std::min(stream->first_completed, record.completed);
}

void WireWatch::failed(unsigned number, WriteId id) {
    std::erase(volume(number).blank, id);
}

void WireWatch::node_died(unsigned side) {
    for (Volume& in : volumes_)
        std::erase_if(in.blank, [&](WriteId id) { return in.writes[id].side == side; });
}

// I19; the part of I18 that can be seen on the cable with it.
void WireWatch::check_progress(const Record& write, unsigned number) {
    if (nodes_[write.side]->state(number).conn < ConnState::connected) return;
    if (!stream_of(write)) {
        if (volume(number).moments[write.side].apart == write.moments_apart)
            verdict_.fail("I19: node {}: a write of {}s +{} completed, and was never sent", write.side,
                          write.sector.value, write.size_sectors);
        return;
    }
    ++completions_checked_;
    const bool asynchronous = protocol_ == config::Protocol::a;
    const uint64_t done = asynchronous ? write.socket->sent_bytes() : write.socket->peer().received_bytes();
    if (done < write.end_byte)
        verdict_.fail("I19: node {}: a write of {}s +{} completed, but its last {} bytes are not yet {}",
                      write.side, write.sector.value, write.size_sectors, write.end_byte - done,
                      asynchronous ? "in the hands of TCP" : "with the peer");
}

// I10, where it was issued in such a state and that has not changed.
void WireWatch::check_admission(const Record& write, unsigned number) {
    const engine::State state = nodes_[write.side]->state(number);
    if (write.socket == nullptr && !admits_requests(state) &&
        volume(number).moments[write.side].open == write.moments_open)
        verdict_.fail("I10: node {}: a write of {}s +{} was admitted in the state {}", write.side,
                      write.sector.value, write.size_sectors, engine::describe(state));
}

// ---- the cable
// -----------------------------------------------------------------------------------------------------

// A tag belongs to one write. Of several without one, in the same place, nobody knows which it is.
WireWatch::Record* WireWatch::find(Volume& in, unsigned side, Sector sector, uint32_t size_sectors,
                                   uint64_t tag) {
    const auto is_it = [&](const Record& record) {
        return record.side == side && record.sector == sector && record.size_sectors == size_sectors &&
               !record.ambiguous;
    };
    if (tag != 0) {
        const auto found = in.by_tag.find(tag);
        if (found == in.by_tag.end() || !is_it(in.writes[found->second])) return nullptr;
        return &in.writes[found->second];
    }
    for (const WriteId id : in.blank)
        if (is_it(in.writes[id])) return &in.writes[id];
    return nullptr;
}

std::optional<WireWatch::Place> WireWatch::place_of(unsigned side, unsigned number, Sector sector,
                                                    uint32_t size_sectors, uint64_t tag) {
    const Record* const write = tag == 0 ? nullptr : find(volume(number), side, sector, size_sectors, tag);
    if (!write || !write->socket) return std::nullopt;
    return Place{write->stream, write->epoch};
}

void WireWatch::queued(unsigned side, const Socket& socket, const engine::OutPacket& packet) {
    constexpr size_t head_bytes = wire::header_bytes(wire::HeaderFormat::header100);
    if (packet.head_bytes < head_bytes) return;
    const auto header = wire::decode_header(wire::HeaderFormat::header100, {packet.head, head_bytes});
    if (!header) return;
    const bool is_data = header->command == Command::data;
    if (header->command == Command::barrier) {
        Stream& closed = stream(socket);
        ++closed.epoch;
        closed.first_completed = UINT64_MAX;
    }
    if (!is_data && header->command != Command::trim && header->command != Command::zeroes) return;
    const uint8_t* body = packet.head + head_bytes;
    const Sector sector(load_be<uint64_t>(body));
    const uint32_t size_bytes =
        is_data ? packet.payload_bytes : load_be<uint32_t>(body + wire::Trim::bytes - sizeof(uint32_t));
    const uint64_t tag = is_data ? load_le<uint64_t>(packet.payload) : 0;
    Record* const write = find(volume(header->volume), side, sector, size_bytes / sector_bytes, tag);
    if (!write) return;
    ++packets_known_;
    check_admission(*write, header->volume);
    take_place(*write, socket);
}

// I25. What was completed before it is sent again keeps its distance, too.
void WireWatch::take_place(Record& write, const Socket& socket) {
    Stream& in = stream(socket);
    if (in.first_completed < write.issued)
        verdict_.fail(
            "I25: node {}: a write of {}s +{} is in the epoch of one that had completed when it was issued",
            write.side, write.sector.value, write.size_sectors);
    if (write.completed != 0) in.first_completed = std::min(in.first_completed, write.completed);
    write.socket = &socket;
    write.stream = in.serial;
    write.end_byte = socket.queued_bytes();
    write.epoch = in.epoch;
}

}  // namespace duplex::sim
