#include "sim/transcript.hpp"

#include <algorithm>
#include <regex>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/ensure.hpp"
#include "wire/decode.hpp"
#include "wire/encode.hpp"

namespace duplex::sim {

using wire::Command;

namespace {

constexpr uint64_t second_us = 1'000'000;
constexpr uint64_t settle_us = 2 * second_us;
constexpr uint64_t way_us = 300;  // of a packet
constexpr uint64_t give_up_us = 60 * second_us;

// Whatever came of them, a packet of these kinds is looked at when it comes, not when its turn is.
bool undetermined(Command command) {
    return command == Command::barrier || command == Command::ping || command == Command::ping_ack ||
           command == Command::unplug_remote;
}

bool any_order(Command command) {
    switch (command) {
        case Command::recv_ack:
        case Command::write_ack:
        case Command::rs_write_ack:
        case Command::rs_is_in_sync:
        case Command::superseded:
        case Command::neg_ack:
        case Command::data_reply:
        case Command::rs_data_reply:
        case Command::rs_deallocated:
        case Command::rs_data_request:
        case Command::rs_thin_req:
        case Command::csum_rs_request:
        case Command::ov_request:
        case Command::ov_reply:
        case Command::ov_result:
            return true;
        default:
            return false;
    }
}

bool is_write(Command command) {
    return command == Command::data || command == Command::trim || command == Command::zeroes;
}

bool begins_request(Command command) {
    return is_write(command) || command == Command::data_request || command == Command::out_of_sync;
}

std::string describe(const WirePacket& packet) {
    const auto shown = std::span(packet.bytes).first(std::min<size_t>(packet.bytes.size(), 80));
    return fmt::format("{} {:02x}{}", wire::name_of(packet.command()), fmt::join(shown, ""),
                       packet.bytes.size() > shown.size() ? "..." : "");
}

size_t index(wire::Socket channel) {
    return static_cast<size_t>(channel);
}

DiskModel quick_disk() {
    DiskModel model;
    model.io_bytes_max = 130560;  // as the kernels' disks had it
    model.delay_us_min = 20;
    model.delay_us_max = 60;
    return model;
}

}  // namespace

class Transcript::ReplayHost final : public Host {
  public:
    using Host::Host;
    void random_bytes(std::span<uint8_t> bytes) override {
        if (challenges.empty()) return Host::random_bytes(bytes);
        std::copy_n(challenges.front().begin(), std::min(bytes.size(), challenges.front().size()),
                    bytes.begin());
        challenges.pop_front();
    }
    std::deque<std::vector<uint8_t>> challenges;
};

// ---- the node
// ------------------------------------------------------------------------------------------------------

Transcript::Transcript(const Capture& capture, unsigned side)
    : capture_(capture),
      side_(side),
      clock_(scheduler_, *this, 1000),
      peer_(scheduler_, *this),
      host_(std::make_unique<ReplayHost>(scheduler_, *this, journal_, side == 0 ? "alpha" : "beta",
                                         HandlerModel{})),
      disk_(scheduler_, *this, capture.disk_sectors, quick_disk()),
      meta_data_(disk_, meta::MetaIndex::internal()),
      net_(capture.nodes[side].net),
      disk_options_(capture.nodes[side].disk) {
    host_->add_disk("/dev/data", disk_);
    for (const auto& session : capture.sessions)
        for (const Packet& packet : session.packets)
            if (packet.sender == side && packet.wire.command() == Command::auth_challenge)
                host_->challenges.emplace_back(packet.wire.body().begin(), packet.wire.body().end());
    // Several commands in a line are several steps.
    for (const Capture::Step& step : capture.steps) {
        if (step.node != side) continue;
        std::istringstream words(step.command);
        for (std::string part; std::getline(words, part, ';');) steps_.push_back(part);
    }
}

Transcript::~Transcript() {
    if (running_) stop();
}

void Transcript::start() {
    resource_ = std::make_unique<engine::Resource>(
        engine::Ports{clock_, peer_, *host_}, "r0", config::ResourceOptions{},
        engine::Limits{size_t{8} << 20, size_t{8} << 20, 512, 4096, 8192});
    ensure(resource_->add_volume(0, 0) != nullptr);
    running_ = true;
    turn();
}

void Transcript::stop() {
    scheduler_.cancel(run_event_);
    run_event_ = 0;
    disk_.drop_operations();
    clock_.power_off();
    peer_.power_off();
    host_->power_off();
    resource_.reset();
    running_ = open_ = false;
    commands_under_way_ = requests_under_way_ = 0;
}

void Transcript::turn() {
    if (run_event_ != 0 || !running_) return;
    run_event_ = scheduler_.after(0, [this] {
        run_event_ = 0;
        resource_->run();
    });
}

engine::State Transcript::state() const {
    return running_ ? resource_->status().volumes.front().state : engine::State{};
}

void Transcript::completed(engine::Request& request) {
    --requests_under_way_;
    if (request.error != 0)
        fail(fmt::format("a request for sector {} failed with {}", request.sector.value, request.error));
    resource_->volume(0)->release(request);
}

template <typename Condition>
bool Transcript::run_until(Condition condition, uint64_t until_us) {
    const Scheduler::EventId alarm =
        scheduler_.after(until_us > scheduler_.now_us() ? until_us - scheduler_.now_us() : 0, [] {});
    // A condition that has come true may have taken something out.
    bool met = false;
    while (failure_.empty() && !(met = condition()) && scheduler_.now_us() < until_us && scheduler_.step()) {
    }
    scheduler_.cancel(alarm);
    return failure_.empty() && met;
}

void Transcript::pause(uint64_t us) {
    const auto never = [this] {
        absorb();
        return false;
    };
    run_until(never, scheduler_.now_us() + us);
}

void Transcript::fail(std::string text) {
    if (failure_.empty()) failure_ = std::move(text);
}

// ---- the administrator
// ---------------------------------------------------------------------------------------------

void Transcript::answer(const char* what, const engine::Reply& reply) {
    --commands_under_way_;
    journal_.add("admin", fmt::format("{}: {} {}", what, reply.code, reply.info));
}

void Transcript::issue(const std::string& step) {
    std::smatch found;
    if (std::regex_search(step, found, std::regex(R"(yes (\S+) \| head -c \d+ > /tmp/pat)"))) {
        pattern_ = found[1].str() + "\n";
    } else if (step.find("of=/dev/ubda") != std::string::npos) {
        // Behind DRBD's back: yes X | head -c 8192 | dd of=/dev/ubda bs=4k seek=9
        std::vector<uint8_t> bytes(8192);
        for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i % 2 ? '\n' : 'X';
        disk_.write_now(Sector(9 * 8), bytes);
    } else if (step.find("of=/dev/drbd0") != std::string::npos) {
        write_while_alone(step);
    } else if (std::regex_search(step, found, std::regex(R"(drbdadm-84 -c \S+ (.*) r0)")) ||
               std::regex_search(step, found, std::regex(R"(drbdsetup-84 (disk-options 0 .*))"))) {
        administer(found[1].str());
    }
}

// What the connections do not show: dd's writes to a Primary without a peer.
void Transcript::write_while_alone(const std::string& dd) {
    const auto number = [&](const char* name) {
        std::smatch found;
        if (!std::regex_search(dd, found, std::regex(std::string(name) + "=(\\d+)(k?)"))) return 0ull;
        return std::stoull(found[1].str()) * (found[2].length() ? 1024ull : 1ull);
    };
    uint64_t block = number("bs"), count = number("count"), seek = number("seek");
    // As large as the disk takes them.
    for (; block > disk_.limits().io_bytes_max; block /= 2, count *= 2, seek *= 2) {
    }
    for (uint64_t i = 0; i < count; ++i) {
        engine::Volume& volume = *resource_->volume(0);
        engine::Request* request =
            volume.take_request(engine::Op::write, Sector((seek + i) * block / sector_bytes),
                                static_cast<uint32_t>(block), *this);
        ensure(request != nullptr);
        for (uint64_t at = 0; at < block; ++at)
            request->data[at] = static_cast<uint8_t>(pattern_[(i * block + at) % pattern_.size()]);
        ++requests_under_way_;
        volume.submit(*request);
        turn();
        if (!run_until([this] { return requests_under_way_ == 0; }, scheduler_.now_us() + give_up_us))
            fail("a write without a peer does not end");
    }
}

void Transcript::administer(const std::string& words) {
    std::istringstream in(words);
    const std::vector<std::string> list{std::istream_iterator<std::string>(in), {}};
    const std::string name = list.back().starts_with("--") || list.size() > 1 ? list.front() : list.back();
    const auto has = [&](std::string_view option) { return std::ranges::find(list, option) != list.end(); };
    const auto done = [this](const char* what) {
        ++commands_under_way_;
        return [this, what](const engine::Reply& reply) { answer(what, reply); };
    };
    const auto connect = [&](bool discard_my_data) {
        engine::ConnectCommand command;
        command.local = {"ipv4", side_ == 0 ? "10.78.0.11" : "10.78.0.12", 7788};
        command.peer = {"ipv4", side_ == 0 ? "10.78.0.12" : "10.78.0.11", 7788};
        command.options = net_;
        command.discard_my_data = discard_my_data;
        resource_->connect(command, done("connect"));
    };
    const auto attach = [&] {
        ensure(meta_data_.apply_al().ok());
        engine::AttachCommand command;
        command.data_path = command.meta_path = "/dev/data";
        command.options = disk_options_;
        resource_->attach(0, command, done("attach"));
    };
    journal_.add("admin", words);
    if (name == "create-md") return meta_data_.create();
    if (has("up")) {
        if (!running_) start();
        attach();
        turn();
        if (!run_until([this] { return commands_under_way_ == 0; }, scheduler_.now_us() + give_up_us))
            return fail("attach does not end");
        connect(false);
    } else if (has("attach")) {
        attach();
    } else if (has("connect")) {
        connect(has("--discard-my-data"));
    } else if (has("disconnect")) {
        resource_->disconnect(false, done("disconnect"));
    } else if (has("down")) {
        resource_->disconnect(false, done("disconnect"));
    } else if (has("detach")) {
        resource_->detach(0, false, done("detach"));
    } else if (has("primary")) {
        resource_->primary(0, {has("--force")}, done("primary"));
    } else if (has("secondary")) {
        if (open_) resource_->volume(0)->close("app");
        open_ = false;
        resource_->secondary(0, done("secondary"));
    } else if (has("verify")) {
        resource_->verify(0, {}, done("verify"));
    } else if (has("invalidate")) {
        resource_->invalidate(0, done("invalidate"));
    } else if (has("pause-sync")) {
        resource_->pause_sync(0, done("pause-sync"));
    } else if (has("resume-sync")) {
        resource_->resume_sync(0, done("resume-sync"));
    } else if (has("disk-options")) {
        for (const std::string& word : list) {
            const size_t equals = word.find('=');
            if (!word.starts_with("--") || equals == std::string::npos) continue;
            ensure(
                config::set_option(disk_options_, word.substr(2, equals - 2), word.substr(equals + 1)).ok());
        }
        resource_->change_disk_options(0, disk_options_, done("disk-options"));
    } else {
        return fail("the transcript does not know " + words);
    }
    turn();
}

// Between two connections: everything up to `up` or `connect` on a node that is on its own; on one that waits
// for its peer what keeps it waiting, or ends that.
void Transcript::steps_before_session() {
    while (failure_.empty() && !steps_.empty()) {
        const std::string step = steps_.front();
        const auto has = [&](const char* word) { return step.find(word) != std::string::npos; };
        const bool waits = running_ && state().conn == wire::ConnState::wf_connection;
        if (waits && has("drbdadm") && !has(" disconnect")) return;
        next_command();
        if (!run_until([this] { return commands_under_way_ == 0; }, scheduler_.now_us() + give_up_us))
            return fail(step + " is not answered");
        if (has(" up r0") || has(" connect ")) return;
    }
}

// What the connection shows of a command is the first packet that is not there without it.
bool Transcript::explains_next_command(const WirePacket& packet) {
    // What requests did is in the capture itself.
    const auto reads = [](const std::string& step) {
        return step.find("/dev/drbd0") != std::string::npos &&
               step.find("of=/dev/drbd0") == std::string::npos;
    };
    while (!steps_.empty() && ((writes_ && steps_.front().find("/dev/drbd0") != std::string::npos) ||
                               reads(steps_.front()) || steps_.front().find("drbd") == std::string::npos)) {
        if (steps_.front().find("/dev/ubda") != std::string::npos) return false;
        if (steps_.front().find("/dev/drbd0") == std::string::npos) issue(steps_.front());
        steps_.pop_front();
    }
    if (steps_.empty()) return false;
    const std::string& step = steps_.front();
    const auto has = [&](const char* word) { return step.find(word) != std::string::npos; };
    uint32_t mask = 0, value = 0;
    std::optional<wire::State> state;
    if (packet.command() == Command::state_chg_req || packet.command() == Command::conn_st_chg_req) {
        const auto request = wire::decode_state_change_request(packet.body());
        mask = request.mask;
        value = request.value;
    } else if (packet.command() == Command::state) {
        if (const auto decoded = wire::decode_state(packet.info, packet.body())) state = decoded->state;
    }
    const auto asks = [&](wire::ConnState conn) {
        return (mask & wire::state_bits::conn_mask) &&
               (value & wire::state_bits::conn_mask) >> wire::state_bits::conn_shift ==
                   static_cast<uint32_t>(conn);
    };
    if (has(" primary"))
        return (mask & wire::state_bits::role_mask) || (state && state->role == wire::Role::primary);
    if (has(" secondary")) return state && state->role == wire::Role::secondary;
    if (has(" disconnect") || has(" down")) return asks(wire::ConnState::disconnecting);
    if (has(" verify")) return asks(wire::ConnState::verify_s);
    if (has(" invalidate")) return asks(wire::ConnState::starting_sync_t);
    if (has(" detach"))
        return (mask & wire::state_bits::disk_mask) || (state && state->disk <= wire::DiskState::failed);
    if (has(" attach")) return packet.command() == Command::sizes;
    if (has(" pause-sync")) return state && state->user_isp;
    if (has(" resume-sync")) return state && !state->user_isp;
    if (has("disk-options")) return packet.command() == Command::sync_param89;
    return false;
}

void Transcript::next_command() {
    const std::string step = steps_.front();
    steps_.pop_front();
    issue(step);
}

// ---- the play
// ------------------------------------------------------------------------------------------------------

bool Transcript::play() {
    for (size_t number = 0; number < capture_.sessions.size() && failure_.empty(); ++number)
        if (!play_session(number) || cut_short_ || !end_session(number)) break;
    if (!failure_.empty() || cut_short_) return failure_.empty();
    const engine::State s = state();
    const std::string& recorded = capture_.nodes[side_].final_state;
    const std::string now =
        fmt::format("cs:{} ro:{}/{} ds:{}/{}", wire::name_of(s.conn), wire::name_of(s.role),
                    wire::name_of(s.peer), wire::name_of(s.disk), wire::name_of(s.pdsk));
    if (!recorded.empty() && now != recorded)
        fail(fmt::format("ends as {}, the kernel as {}", now, recorded));
    return failure_.empty();
}

bool Transcript::play_session(size_t number) {
    const Capture::Session& session = capture_.sessions[number];
    session_ = &session;
    begun_ = false;
    steps_before_session();
    ends_ = {};
    said_ = {};
    writes_ = std::ranges::any_of(session.packets, [this](const Packet& packet) {
        return packet.sender == side_ &&
               (is_write(packet.wire.command()) || packet.wire.command() == Command::data_request);
    });
    writes_recorded_ = writes_said_ = writes_stable_ = writes_in_epochs_ = 0;
    recorded_barriers_.clear();
    epochs_.clear();
    pings_ = ping_answers_ = 0;
    peer_disconnects_ = false;
    // A packet of the peer's stands where it had arrived, one of the node's where it had to be on its way.
    std::vector<const Packet*> order;
    order.reserve(session.packets.size());
    for (const Packet& packet : session.packets) order.push_back(&packet);
    const auto time = [this](const Packet* p) {
        return p->sender == side_ ? p->first_byte_us : p->last_byte_us;
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](const Packet* a, const Packet* b) { return time(a) < time(b); });
    uint64_t before_us = time(order.front());
    for (const Packet* packet : order) {
        // Two writes of one block cross: which of them is first on which node is in no capture.
        if (packet->wire.command() == Command::superseded) {
            cut_short_ = true;
            return true;
        }
        // The pauses of the capture, from where the play is.
        const uint64_t pause_us = time(packet) - std::exchange(before_us, time(packet));
        const bool own = packet->sender == side_;
        if (!own || explains_next_command(packet->wire)) pause(std::max(pause_us, way_us));
        if (own && explains_next_command(packet->wire)) next_command();
        absorb();
        if (!failure_.empty() || !open_channel(session, *packet)) return false;
        journal_.add(own ? "awaits" : "peer", describe(packet->wire));
        if (!own)
            peer_says(*packet);
        else if (!node_says(*packet))
            return false;
    }
    return true;
}

bool Transcript::open_channel(const Capture::Session& session, const Packet& packet) {
    const size_t at = index(packet.wire.channel);
    if (ends_[at]) return true;
    const bool by_node = session.opener[at] == side_;
    const auto opened = [&] {
        ends_[at] = peer_.open(packet.wire.channel, net_, by_node);
        return ends_[at] != nullptr;
    };
    if (!run_until(opened, scheduler_.now_us() + give_up_us)) {
        fail(fmt::format("the node does not {} for the {} socket", by_node ? "connect" : "listen",
                         wire::name_of(packet.wire.channel)));
        return false;
    }
    return true;
}

bool Transcript::end_session(size_t number) {
    const bool last = number + 1 == capture_.sessions.size();
    const std::string& recorded = capture_.nodes[side_].final_state;
    const bool stays = last && (recorded.find("cs:StandAlone") == std::string::npos &&
                                recorded.find("cs:WFConnection") == std::string::npos && !recorded.empty());
    pause(settle_us);
    for (const auto& said : said_)
        if (!said.empty() && failure_.empty())
            fail(fmt::format("session {}: says what the kernel did not say: {}", number + 1,
                             describe(said.front())));
    const bool crash = capture_.name == "crash-primary" && !last;
    if (failure_.empty() && ping_answers_ != pings_ && !crash)
        fail(fmt::format("session {}: {} pings, {} answers", number + 1, pings_, ping_answers_));
    if (stays || !failure_.empty()) return failure_.empty();
    if (crash && side_ == 0) {
        stop();
        return true;
    }
    for (RecordedPeer::End* end : ends_)
        if (end && !crash) end->end();
    const auto closed = [this] {
        return std::ranges::all_of(ends_, [](auto* end) { return !end || end->closed(); });
    };
    if (!run_until(closed, scheduler_.now_us() + give_up_us))
        fail(fmt::format("session {}: the node does not close", number + 1));
    pause(settle_us);
    return failure_.empty();
}

// ---- what the node says
// --------------------------------------------------------------------------------------------

bool Transcript::node_says(const Packet& expected) {
    const Command command = expected.wire.command();
    if (command == Command::barrier) {
        const auto barrier = wire::decode_barrier(expected.wire.info, expected.wire.body());
        recorded_barriers_[barrier->barrier] = writes_recorded_;
    }
    if (undetermined(command)) return true;
    // Whether it still goes out when the peer has said goodbye is a race.
    if (peer_disconnects_ && command != Command::conn_st_chg_reply) return true;
    if (is_write(command)) ++writes_recorded_;
    if (begins_request(command)) begin_requests(expected);
    if (!run_until([&] { return find(expected); }, scheduler_.now_us() + give_up_us)) {
        const auto& said = said_[index(expected.wire.channel)];
        fail(fmt::format("does not say {}\n  but {}", describe(expected.wire),
                         said.empty() ? "nothing" : describe(said.front())));
        return false;
    }
    ++compared_;
    return failure_.empty();
}

// A node pulls ahead because of what its applications want to write before the wire shows it.
void Transcript::begin_requests(const Packet& expected) {
    if (net_.on_congestion == config::OnCongestion::block) return begin_request(expected);
    const auto& packets = session_->packets;
    const auto own_write = [&](const Packet& packet) {
        return packet.sender == side_ && begins_request(packet.wire.command());
    };
    if (begun_) return;
    begun_ = true;
    for (const Packet& packet : packets)
        if (own_write(packet)) begin_request(packet);
}

// The application's part of it.
void Transcript::begin_request(const Packet& expected) {
    engine::Volume& volume = *resource_->volume(0);
    if (!open_ && volume.open(true, "app") != 0) return fail("the device cannot be opened");
    open_ = true;
    engine::Op op = engine::Op::write;
    Sector sector;
    uint32_t size_bytes = 0, flags = 0;
    const WirePacket& wire = expected.wire;
    if (wire.command() == Command::data) {
        const auto data = wire::decode_data(wire.info, wire.body());
        sector = data->sector;
        size_bytes = wire.info.variable_bytes;
        flags = data->dp_flags;
    } else if (wire.command() == Command::data_request) {
        const auto asked = wire::decode_block_request(wire.info, wire.body());
        op = engine::Op::read;
        sector = asked->sector;
        size_bytes = asked->size_bytes;
    } else if (wire.command() == Command::out_of_sync) {
        const auto written = wire::decode_block_desc(wire.info, wire.body());
        sector = written->sector;
        size_bytes = written->size_bytes;
    } else {
        const auto trim = wire::decode_trim(wire.info, wire.body(), wire::feature::all);
        op = wire.command() == Command::trim ? engine::Op::discard : engine::Op::write_zeroes;
        sector = trim->sector;
        size_bytes = trim->size_bytes;
        flags = trim->dp_flags;
    }
    engine::Request* request = volume.take_request(op, sector, size_bytes, *this);
    if (!request) return fail("no room for a request");
    request->fua = flags & wire::dp_flag::fua;
    request->may_unmap = flags & wire::dp_flag::discard;
    if (wire.command() == Command::data) std::ranges::copy(wire.variable(), request->data);
    if (wire.command() == Command::out_of_sync) fill_from_resync(sector, {request->data, size_bytes});
    ++requests_under_way_;
    volume.submit(*request);
    turn();
}

// What was written while Ahead is what the resync carries afterwards.
void Transcript::fill_from_resync(Sector sector, std::span<uint8_t> bytes) const {
    for (const Packet& packet : session_->packets) {
        if (packet.sender != side_ || packet.wire.command() != Command::rs_data_reply) continue;
        const Sector first = wire::decode_data(packet.wire.info, packet.wire.body())->sector;
        const auto data = packet.wire.variable();
        for (size_t i = 0; i < bytes.size(); ++i) {
            const uint64_t at = sector.value * sector_bytes + i;
            const uint64_t from = first.value * sector_bytes;
            if (at >= from && at - from < data.size()) bytes[i] = data[at - from];
        }
    }
}

// Takes the packet out of what was said, if it is there.
bool Transcript::find(const Packet& expected) {
    absorb();
    std::deque<WirePacket>& said = said_[index(expected.wire.channel)];
    const bool free = any_order(expected.wire.command());
    std::string difference;
    for (auto packet = said.begin(); packet != said.end(); ++packet) {
        if (any_order(packet->command()) != free) continue;
        if (matches(expected.wire, *packet, difference)) {
            said.erase(packet);
            return true;
        }
        if (free) continue;
        fail(fmt::format("{}:\n  the kernel said {}\n  the engine says {}", difference,
                         describe(expected.wire), describe(*packet)));
        return true;
    }
    return false;
}

// Looks at everything once, as it comes.
void Transcript::absorb() {
    for (RecordedPeer::End* end : ends_) {
        if (!end) continue;
        if (!end->fault.empty()) fail("says what is no packet: " + end->fault);
        for (; !end->sent.empty(); end->sent.pop_front()) {
            WirePacket& packet = end->sent.front();
            const Command command = packet.command();
            if (command == Command::ping) {
                std::vector<uint8_t> reply(wire::header_bytes_max);
                reply.resize(wire::encode_packet(Command::ping_ack, 0, reply.data()));
                end->deliver(reply);
            } else if (command == Command::ping_ack) {
                ++ping_answers_;
            } else if (command == Command::barrier) {
                const auto barrier = wire::decode_barrier(packet.info, packet.body());
                epochs_.push_back({barrier->barrier, writes_said_ - writes_in_epochs_, writes_said_});
                writes_in_epochs_ = writes_said_;
            } else if (is_write(command)) {
                ++writes_said_;
            }
            if (!undetermined(command)) said_[index(packet.channel)].push_back(std::move(packet));
        }
    }
    acknowledge_epochs();
}

}  // namespace duplex::sim
