// The connection to the peer, from StandAlone to Connected and back (states 3):
//
//   connection.cpp     its life: establish, handshake, run, clean up, again               states 3.1, 3.6
//   handshake.cpp      features, authentication, P_PROTOCOL                                wire protocol 5
//   receiver.cpp       packets of the data socket                                          wire protocol 7,
//   9-12 meta_receiver.cpp  packets of the meta socket: acknowledgements                        wire
//   protocol 7.4, 14
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/digest.hpp"
#include "engine/establish.hpp"
#include "engine/link.hpp"
#include "engine/resource.hpp"
#include "engine/states.hpp"
#include "engine/transfer_log.hpp"

namespace duplex::engine {

class Core;
class Device;
struct PeerRequest;

class Connection final : public LinkUser {
  public:
    explicit Connection(Core& core);
    ~Connection();
    // Forgets every procedure where it stands.
    void drop_procedures();

    // ---- commands
    // ---------------------------------------------------------------------------------------------------
    Task<Reply> connect(ConnectCommand command);
    Task<Reply> disconnect(bool force);
    Task<Reply> change_options(config::NetOptions options);

    // ---- state
    // --------------------------------------------------------------------------------------------------------
    ConnState state() const { return state_; }
    bool configured() const { return configured_; }
    bool established() const { return state_ >= ConnState::wf_report_params; }
    // A volume's own state rules above WFReportParams; this changes all of them at once (states 2.1).
    StateChangeResult change_state(StateChangeRequest request, ChangeKind kind, bool verbose = true);
    // The same as the peer's wish; a volume whose disk is below Outdated ignores that it is to be outdated.
    StateChangeResult peer_requests_state(StateChangeRequest mirrored);
    // Ends the connection from the inside; reconnects afterwards, or not.
    void drop(ConnState why, const std::string& text);
    void go_stand_alone(const std::string& text);
    // A volume has left WFReportParams, or is gone.
    void volume_settled();
    // Everything that the peer has to say of its volumes has arrived. One that it does not have stays in
    // WFReportParams, but nothing waits for it any more.
    void parameters_complete();
    bool state_sent() const { return state_sent_; }

    const config::NetOptions& options() const { return options_; }
    const ConnectCommand& command() const { return command_; }
    bool resolver() const { return resolver_; }
    uint32_t features() const { return features_; }
    uint32_t agreed_protocol() const { return agreed_protocol_; }
    bool two_primaries() const { return options_.allow_two_primaries; }
    bool peer_dry_run() const { return peer_protocol_.dry_run; }
    uint64_t established_ms() const { return established_ms_; }
    std::optional<DigestAlgorithm> integrity_out() const { return integrity_out_; }
    std::optional<DigestAlgorithm> csums() const { return csums_; }
    std::optional<DigestAlgorithm> verify_alg() const { return verify_; }
    bool discard_my_data() const { return command_.discard_my_data; }

    // ---- the stream to the peer
    // -----------------------------------------------------------------------------------------
    Link link;
    TransferLog transfer_log;
    // Sends a due barrier before a packet of this epoch.
    void barrier_before(uint32_t epoch);
    // Applications' flushes whose epochs have left the log: by a barrier ack, or because the peer's writes
    // took the place of the last of their writes.
    void end_flushes();
    // The end of a turn of the loop: a closed epoch's barrier leaves when nothing else does.
    void turn_ends();
    // Frozen for fencing, and the peer is back: it gets again what it has not acknowledged (states 9.8), but
    // for the volumes that are about to be resynced. false: that would not do, and everything that it may
    // lack is marked out of sync.
    bool resend_frozen();
    // I/O is not frozen for fencing any more: what was not sent again ends as after a lost connection.
    void release_frozen();
    // What stands still may be able to go on.
    void retry_receiver();
    void algorithms_changed(const std::string& verify_alg, const std::string& csums_alg);

    // ---- receive epochs (wire protocol 7.6)
    void epoch_write_dropped() {
        --epoch_size_;
        epoch_dropped_ = true;
    }
    void active_writes_changed();
    void epoch_flush_done();
    // The request's data block is on its way in: the request must stay.
    bool is_receiving(const PeerRequest& request) const { return incoming_ == &request; }

    // ---- LinkUser
    bool packet_arrived(Channel channel, const wire::PacketReader& reader) override;
    Result<std::span<uint8_t>> data_block_follows(const wire::PacketReader& reader) override;
    bool close_expected() override;
    void link_failed(ConnState why, const std::string& text) override;

    template <typename... Args>
    void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) const {
        log_line(level, fmt::format(format, std::forward<Args>(args)...));
    }
    void log_line(LogLevel level, std::string_view text) const;
    ConnectionStatus status() const;

  private:
    enum class Outcome : uint8_t { established, retry, stand_alone };

    class RequestTimer final : public Timer {
      public:
        explicit RequestTimer(Connection& o) : owner(o) {}
        void fired() override { owner.check_oldest_request(); }
        Connection& owner;
    };
    class StandStillTimer final : public Timer {
      public:
        explicit StandStillTimer(Connection& o) : owner(o) {}
        void fired() override { owner.stood_still_too_long(); }
        Connection& owner;
    };

    // connection.cpp
    Task<> run();
    Task<Outcome> establish();
    Task<> part();
    Task<> pause_before_retry();
    Task<> clean_up();
    static void lose(TransferLog::Requests& requests);
    void clean_transfer_log();
    void freeze_transfer_log();
    void stop_receiving();
    bool set_state(ConnState conn);
    using Request = std::function<StateChangeRequest(const Device&)>;
    StateChangeResult change_volumes(ConnState conn, const Request& request, ChangeKind kind, bool verbose);
    void log_change(ConnState conn, const std::vector<std::pair<Device*, ChangeDecision>>& decisions) const;
    static constexpr uint64_t request_check_ms = 1000;
    void check_oldest_request();
    void waive_conflict_epochs(uint64_t before_ms);
    Task<StateChangeResult> request_disconnect(StateChangeRequest request);
    Task<StateChangeResult> disconnect_politely();
    bool stopping() const { return state_ <= ConnState::disconnecting; }

    // handshake.cpp
    Task<Outcome> handshake();
    Task<Outcome> exchange_features();
    Task<Outcome> authenticate();
    Task<bool> next_packet(Deadline& limit);
    bool challenge_is_ours(std::span<const uint8_t> challenge) const;
    void agree(wire::Phase phase);
    wire::Protocol own_protocol() const;
    void send_protocol();
    void send_protocol_update();
    bool receive_protocol(const wire::PacketReader& reader);
    std::string mismatch(const wire::Protocol& peer) const;
    void adopt_protocol(const wire::Protocol& peer);

    // receiver.cpp. Each returns whether the next packet may follow.
    bool data_packet(const wire::PacketReader& reader);
    bool dispatch(Device& device, const wire::PacketReader& reader);
    bool receive_parameter(Device& device, const wire::PacketReader& reader);
    bool start_procedure(Task<> task);
    Task<> finish_procedure(Task<> task);
    bool accepted_by_peer(Device& device);
    Task<> finish_acceptance(Device& device);
    bool receive_write(const wire::PacketReader& reader);
    bool receive_trim(Device& device, const wire::PacketReader& reader);
    std::optional<wire::BlockRequest> block_request(const Device& device, const wire::PacketReader& reader);
    bool receive_read_request(Device& device, const wire::PacketReader& reader);
    bool receive_resync_request(Device& device, const wire::PacketReader& reader);
    bool receive_barrier(const wire::PacketReader& reader);
    bool receive_verify_request(Device& device, const wire::PacketReader& reader);
    bool receive_verify_reply(Device& device, const wire::PacketReader& reader);
    bool receive_data_reply(Device& device, const wire::PacketReader& reader);
    bool receive_resync_reply(Device& device, const wire::PacketReader& reader);
    bool receive_deallocated(Device& device, const wire::PacketReader& reader);
    bool receive_out_of_sync(Device& device, const wire::PacketReader& reader);
    bool receive_state_request(Device& device, const wire::PacketReader& reader);
    bool receive_connection_request(const wire::PacketReader& reader);
    bool digest_matches(const wire::PacketReader& reader);
    bool protocol_error(const Error& what);
    bool no_room();
    bool continue_write();
    void stood_still_too_long();
    Result<std::span<uint8_t>> block_for_write(Device& device, const wire::Data& packet, uint32_t size_bytes);
    Result<std::span<uint8_t>> block_for_read(Device& device, const wire::Data& packet, uint32_t size_bytes);
    Result<std::span<uint8_t>> block_for_resync(Device& device, const wire::Data& packet,
                                                uint32_t size_bytes);
    void check_barrier();

    // meta_receiver.cpp
    void meta_packet(const wire::PacketReader& reader);
    void state_change_reply(const wire::PacketReader& reader);
    void block_ack(Device& device, wire::Command command, const wire::BlockAck& ack);
    void write_ack(Device& device, wire::Command command, const wire::BlockAck& ack);
    void neg_ack(Device& device, const wire::BlockAck& ack);
    void verify_result(Device& device, const wire::BlockAck& ack);
    void resync_answer(Device& device, wire::Command command, const wire::BlockAck& ack);
    void stray_resync_ack(Device& device, wire::Command command, const wire::BlockAck& ack);
    void unknown_ack(const Device& device, wire::Command command, const wire::BlockAck& ack);
    void barrier_ack(const wire::BarrierAck& ack);
    void acknowledge_epoch(uint32_t epoch);

    Core& core_;
    ConnState state_ = ConnState::stand_alone;
    bool configured_ = false;
    ConnectCommand command_;
    config::NetOptions options_;
    std::optional<Task<>> life_;  // run(), while not StandAlone
    std::unique_ptr<Establisher> establisher_;

    bool resolver_ = false;
    uint32_t features_ = 0;
    uint32_t agreed_protocol_ = 0;
    uint64_t established_ms_ = 0;
    bool state_sent_ = false;  // the parameters are on their way; no volume has decided yet (states 1.6)
    bool protocol_received_ = false;
    wire::Protocol peer_protocol_;
    std::optional<DigestAlgorithm> integrity_out_, integrity_in_, csums_, verify_;

    bool handshaking_ = false;
    bool handshake_broken_ = false;
    bool no_agreement_ = false;                   // StandAlone, while parameters are exchanged
    bool worth_retrying_ = false;                 // after handshake_broken_
    const wire::PacketReader* packet_ = nullptr;  // the handshake's next packet
    std::deque<std::array<uint8_t, wire::auth_challenge_bytes>>
        challenges_;  // our last ones (wire protocol 5.4)

    bool log_is_frozen_ = false;

    bool disconnect_pending_ = false;
    std::optional<int32_t> disconnect_answer_;

    // What the data socket stands still for, if it does.
    std::optional<Task<>> procedure_;
    bool procedure_running_ = false;
    PeerRequest* incoming_ = nullptr;  // its block is being received, or it waits to be started
    bool write_waits_ = false;         // the latter
    AppRequest* incoming_read_ = nullptr;
    bool waiting_for_room_ = false;
    const wire::PacketReader* retry_packet_ = nullptr;
    std::optional<uint32_t> barrier_;  // received, not acknowledged

    uint32_t epoch_size_ = 0;     // writes received since the last barrier
    bool epoch_dropped_ = false;  // superseded or retried ones were taken out of it
    bool epoch_flushed_ = false;
    uint32_t flushes_pending_ = 0;

    RequestTimer request_timer_;
    StandStillTimer stand_still_timer_;
};

}  // namespace duplex::engine
