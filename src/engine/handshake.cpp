// The first words on a new connection (wire protocol 5): features, authentication, P_PROTOCOL.
#include <algorithm>

#include "engine/core.hpp"
#include "wire/decode.hpp"

namespace duplex::engine {

namespace {

// Our last challenges, so that nobody can make us answer our own (wire protocol 5.4).
constexpr size_t challenges_kept = 64;

}  // namespace

Task<Connection::Outcome> Connection::handshake() {
    packet_ = nullptr;
    agree(wire::Phase::features);
    Task<Outcome> exchanged = exchange_features();
    Outcome outcome = co_await exchanged;
    if (outcome != Outcome::established || options_.cram_hmac_alg.empty()) {
        if (outcome == Outcome::established) agree(wire::Phase::protocol);
        co_return outcome;
    }
    Task<Outcome> authenticated = authenticate();
    outcome = co_await authenticated;
    if (outcome == Outcome::established) agree(wire::Phase::protocol);
    co_return outcome;
}

// What is agreed now decides how the next bytes are read.
void Connection::agree(wire::Phase phase) {
    const auto bytes_of = [](const std::optional<DigestAlgorithm>& algorithm) {
        return static_cast<uint8_t>(algorithm ? digest_size_bytes(*algorithm) : 0);
    };
    wire::Agreement agreement;
    agreement.phase = phase;
    agreement.features = features_;
    agreement.integrity_digest_bytes = bytes_of(integrity_in_);
    agreement.csums_digest_bytes = bytes_of(csums_);
    agreement.verify_digest_bytes = bytes_of(verify_);
    agreement.auth_digest_bytes = bytes_of(digest_from_name(options_.cram_hmac_alg));
    link.set_agreement(agreement);
}

// The next packet on the data socket, within the limit; it stays until packet_taken().
Task<bool> Connection::next_packet(Deadline& limit) {
    link.resume(Channel::data);
    while (!packet_ && !handshake_broken_ && !limit.passed() && !stopping()) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    if (!packet_ && limit.passed())
        log(LogLevel::warning, "the peer was silent in the handshake for too long");
    co_return packet_ != nullptr;
}

Task<Connection::Outcome> Connection::exchange_features() {
    features_ = 0;
    integrity_in_.reset();
    integrity_out_ = digest_from_name(options_.data_integrity_alg);
    csums_ = digest_from_name(options_.csums_alg);
    verify_ = digest_from_name(options_.verify_alg);
    if (!link.send_packet(Channel::data, wire::Command::connection_features, 0, wire::Features{}))
        co_return Outcome::retry;
    Deadline limit(core_.ports.clock, core_.changed, 4 * options_.ping_timeout_ds * uint64_t{100});
    Task<bool> received = next_packet(limit);
    const bool there = co_await received;
    // A wrong first packet does not mend itself by trying again (wire protocol 5.2).
    if (!there) co_return handshake_broken_ && !worth_retrying_ ? Outcome::stand_alone : Outcome::retry;
    const Result<wire::Features> peer = wire::decode_features(packet_->info(), packet_->body());
    packet_ = nullptr;
    if (!peer) {
        log_line(LogLevel::error, peer.error().text);
        co_return Outcome::stand_alone;
    }
    if (peer->protocol_min > wire::protocol_max || peer->protocol_max < wire::protocol_min) {
        log(LogLevel::error, "incompatible DRBD dialects: I support {}-{}, peer supports {}-{}",
            wire::protocol_min, wire::protocol_max, peer->protocol_min, peer->protocol_max);
        co_return Outcome::stand_alone;
    }
    agreed_protocol_ = std::min(wire::protocol_max, peer->protocol_max);
    features_ = wire::feature::all & peer->feature_flags;
    log(LogLevel::info, "Handshake successful: Agreed network protocol version {}", agreed_protocol_);
    log(LogLevel::info, "Feature flags enabled on protocol level: 0x{:x}{}{}{}{}.", features_,
        features_ & wire::feature::trim ? " TRIM" : "",
        features_ & wire::feature::thin_resync ? " THIN_RESYNC" : "",
        features_ & wire::feature::wsame ? " WRITE_SAME" : "",
        features_ & wire::feature::wzeroes ? " WRITE_ZEROES" : "");
    co_return Outcome::established;
}

bool Connection::challenge_is_ours(std::span<const uint8_t> challenge) const {
    return std::any_of(challenges_.begin(), challenges_.end(), [challenge](const auto& ours) {
        return std::equal(ours.begin(), ours.end(), challenge.begin());
    });
}

// Wire protocol 5.4. Each direction proves itself; nothing of the meta socket is read before both have.
Task<Connection::Outcome> Connection::authenticate() {
    const DigestAlgorithm algorithm = *digest_from_name(options_.cram_hmac_alg);
    agree(wire::Phase::auth_challenge);
    auto& own = challenges_.emplace_back();
    if (challenges_.size() > challenges_kept) challenges_.pop_front();
    core_.ports.host.random_bytes(own);
    const auto challenge = own;
    if (!link.send_bytes(Channel::data, wire::Command::auth_challenge, 0, challenge))
        co_return Outcome::retry;
    Deadline limit(core_.ports.clock, core_.changed, 4 * options_.ping_timeout_ds * uint64_t{100});
    Task<bool> challenged = next_packet(limit);
    const bool challenge_there = co_await challenged;
    if (!challenge_there) {
        const bool wrong_packet = handshake_broken_ && !worth_retrying_;
        if (wrong_packet) log(LogLevel::error, "Authentication of peer failed");
        co_return wrong_packet ? Outcome::stand_alone : Outcome::retry;
    }
    const std::span<const uint8_t> peer_challenge = packet_->variable();
    if (challenge_is_ours(peer_challenge)) {
        log(LogLevel::error, "Peer presented the same challenge!");
        co_return Outcome::stand_alone;
    }
    const DigestValue response = hmac(algorithm, options_.shared_secret, peer_challenge);
    packet_ = nullptr;
    agree(wire::Phase::auth_response);
    if (!link.send_bytes(Channel::data, wire::Command::auth_response, 0, response.view()))
        co_return Outcome::retry;
    Task<bool> answered = next_packet(limit);
    const bool answer_there = co_await answered;
    if (!answer_there) {
        if (handshake_broken_)
            log(LogLevel::error,
                "Authentication of peer failed, trying again; is cram-hmac-alg {} there, too?",
                options_.cram_hmac_alg);
        co_return Outcome::retry;
    }
    const bool genuine = hmac(algorithm, options_.shared_secret, challenge).equals(packet_->digest());
    packet_ = nullptr;
    if (!genuine) {
        log(LogLevel::error, "Authentication of peer failed");
        co_return Outcome::stand_alone;
    }
    log(LogLevel::info, "Peer authenticated using {} bytes HMAC", response.size);
    co_return Outcome::established;
}

// ---- P_PROTOCOL (wire protocol 5.5, 5.6)
// ---------------------------------------------------------------------------

namespace {

wire::AfterSplitBrain wire_policy(config::AfterSplitBrain policy) {
    return static_cast<wire::AfterSplitBrain>(policy);
}

}  // namespace

wire::Protocol Connection::own_protocol() const {
    wire::Protocol p;
    p.protocol = static_cast<wire::ReplicationProtocol>(options_.protocol);
    p.after_sb_0p = wire_policy(options_.after_sb_0pri);
    p.after_sb_1p = wire_policy(options_.after_sb_1pri);
    p.after_sb_2p = wire_policy(options_.after_sb_2pri);
    p.discard_my_data = command_.discard_my_data;
    p.dry_run = command_.tentative;
    p.two_primaries = options_.allow_two_primaries;
    p.integrity_alg = wire::AlgorithmName(options_.data_integrity_alg);
    return p;
}

void Connection::send_protocol() {
    link.send_packet(Channel::data, wire::Command::protocol, 0, own_protocol());
}

// In one step with our own digest: what is queued before it carries the old one, what comes after the new
// one.
void Connection::send_protocol_update() {
    link.send_packet(Channel::data, wire::Command::protocol_update, 0, own_protocol());
    integrity_out_ = digest_from_name(options_.data_integrity_alg);
    csums_ = digest_from_name(options_.csums_alg);
    verify_ = digest_from_name(options_.verify_alg);
    agree(wire::Phase::established);
}

bool Connection::receive_protocol(const wire::PacketReader& reader) {
    const Result<wire::Protocol> received = wire::decode_protocol(reader.info(), reader.body());
    if (!received) return protocol_error(received.error());
    if (protocol_received_) {
        adopt_protocol(*received);
        return true;
    }
    const std::string why = mismatch(*received);
    if (!why.empty()) {
        go_stand_alone(fmt::format("incompatible {} settings", why));
        return false;
    }
    protocol_received_ = true;
    peer_protocol_ = *received;
    integrity_in_ = digest_from_name(received->integrity_alg.view());
    if (integrity_in_) log(LogLevel::info, "peer data-integrity-alg: {}", name_of(*integrity_in_));
    agree(wire::Phase::established);
    return true;
}

// The first difference that two nodes cannot work with, in the kernel's words; empty if there is none.
std::string Connection::mismatch(const wire::Protocol& peer) const {
    const wire::Protocol own = own_protocol();
    if (peer.protocol != own.protocol) return "protocol";
    if (in_peers_view(peer.after_sb_0p) != own.after_sb_0p) return "after-sb-0pri";
    if (in_peers_view(peer.after_sb_1p) != own.after_sb_1p) return "after-sb-1pri";
    if (in_peers_view(peer.after_sb_2p) != own.after_sb_2p) return "after-sb-2pri";
    if (peer.discard_my_data && own.discard_my_data) return "discard-my-data";
    if (peer.two_primaries != own.two_primaries) return "allow-two-primaries";
    if (!(peer.integrity_alg == own.integrity_alg)) return "data-integrity-alg";
    return {};
}

// P_PROTOCOL_UPDATE: the peer's settings hold from here on, without comparison.
void Connection::adopt_protocol(const wire::Protocol& peer) {
    const std::string algorithm(peer.integrity_alg.view());
    if (!algorithm.empty() && !digest_from_name(algorithm)) {
        go_stand_alone(fmt::format("peer data-integrity-alg {} not supported", algorithm));
        return;
    }
    options_.protocol = static_cast<config::Protocol>(peer.protocol);
    options_.after_sb_0pri = static_cast<config::AfterSplitBrain>(in_peers_view(peer.after_sb_0p));
    options_.after_sb_1pri = static_cast<config::AfterSplitBrain>(in_peers_view(peer.after_sb_1p));
    options_.after_sb_2pri = static_cast<config::AfterSplitBrain>(in_peers_view(peer.after_sb_2p));
    options_.allow_two_primaries = peer.two_primaries;
    integrity_in_ = digest_from_name(algorithm);
    agree(wire::Phase::established);
}

void Connection::algorithms_changed(const std::string& verify_alg, const std::string& csums_alg) {
    const auto unknown = [](const std::string& name) { return !name.empty() && !digest_from_name(name); };
    if (unknown(verify_alg) || unknown(csums_alg)) {
        go_stand_alone(fmt::format("unknown verify-alg {} or csums-alg {}", verify_alg, csums_alg));
        return;
    }
    options_.verify_alg = verify_alg;
    options_.csums_alg = csums_alg;
    verify_ = digest_from_name(verify_alg);
    csums_ = digest_from_name(csums_alg);
    agree(wire::Phase::established);
}

}  // namespace duplex::engine
