// Every captured byte stream between two kernels decodes to its end and comes out the same when it is encoded
// again.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <utility>
#include <vector>
#include <zlib.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/digest.hpp"
#include "base/random.hpp"
#include "wire/bitmap_codec.hpp"
#include "wire/decode.hpp"
#include "wire/test_support.hpp"

namespace duplex::wire {
namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> read_gz(const fs::path& path) {
    gzFile file = gzopen(path.c_str(), "rb");
    EXPECT_NE(file, nullptr) << path;
    if (file == nullptr) return {};
    std::vector<uint8_t> bytes;
    std::array<uint8_t, 1 << 16> chunk{};
    int count = 0;
    while ((count = gzread(file, chunk.data(), chunk.size())) > 0)
        bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + count);
    EXPECT_EQ(count, 0) << path;
    gzclose(file);
    return bytes;
}

std::string read_text(const fs::path& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file.good()) << path;
    return {std::istreambuf_iterator<char>(file), {}};
}

// What the sender's configuration says about the digests in its packets.
std::optional<DigestAlgorithm> configured(const std::string& conf, const std::string& option) {
    std::smatch match;
    if (!std::regex_search(conf, match, std::regex(option + R"(\s+"?([a-z0-9]+))"))) return std::nullopt;
    return digest_from_name(match[1].str());
}

uint8_t digest_bytes_of(std::optional<DigestAlgorithm> algorithm) {
    return algorithm ? static_cast<uint8_t>(digest_size_bytes(*algorithm)) : uint8_t{0};
}

// One direction of one TCP connection.
class GoldenStream {
  public:
    GoldenStream(const fs::path& file, Socket socket, const std::string& sender_conf, bool sender_opened)
        : name_(file.parent_path().filename() / file.filename()),
          bytes_(read_gz(file)),
          integrity_(configured(sender_conf, "data-integrity-alg")),
          authenticates_(configured(sender_conf, "cram-hmac-alg").has_value()),
          use_rle_(!std::regex_search(sender_conf, std::regex(R"(use-rle\s+no)"))),
          reader_(socket) {
        // Both nodes of every capture are of the same release and announce all four features.
        agreement_.features = feature::all;
        agreement_.integrity_digest_bytes = digest_bytes_of(integrity_);
        agreement_.csums_digest_bytes = digest_bytes_of(configured(sender_conf, "csums-alg"));
        agreement_.verify_digest_bytes = digest_bytes_of(configured(sender_conf, "verify-alg"));
        agreement_.auth_digest_bytes = digest_bytes_of(configured(sender_conf, "cram-hmac-alg"));
        if (sender_opened)
            agreement_.phase = Phase::first_packet;
        else
            agreement_.phase = socket == Socket::data ? Phase::features : Phase::established;
        reader_.set_agreement(agreement_);
    }

    const std::string& name() const { return name_; }
    uint64_t bytes() const { return bytes_.size(); }
    const std::map<Command, unsigned>& packets() const { return packets_; }
    unsigned transfers() const { return transfers_; }

    // Segments of random sizes, so that packets get cut anywhere.
    void run() {
        Random random(bytes_.size());
        size_t at = 0;
        while (at < bytes_.size() && !testing::Test::HasFailure()) {
            const size_t segment =
                std::min<size_t>(random.between(1, random.chance(50) ? 40 : 60000), bytes_.size() - at);
            const auto fed = reader_.feed(std::span(bytes_).subspan(at, segment));
            ASSERT_TRUE(fed) << name_ << " at byte " << at << ": " << fed.error().text;
            at += fed->consumed_bytes;
            if (fed->event == PacketReader::Event::head) data_wanted();
            if (fed->event == PacketReader::Event::packet) packet_done(at);
        }
        // Not even the crash cut a packet in these captures.
        EXPECT_TRUE(reader_.at_packet_start()) << name_ << " ends inside a packet";
        EXPECT_FALSE(transfer_) << name_ << " ends inside a bitmap transfer";
    }

  private:
    void data_wanted() {
        data_.resize(reader_.info().variable_bytes);
        reader_.set_data_buffer(data_);
    }

    void packet_done(size_t end) {
        const PacketInfo& info = reader_.info();
        const size_t length = header_bytes(header_format(agreement_.phase)) + info.header.length;
        std::vector<uint8_t> original(bytes_.begin() + static_cast<ptrdiff_t>(end - length),
                                      bytes_.begin() + static_cast<ptrdiff_t>(end));
        clear_ignored_pad(info, original);
        auto again = reencode(reader_);
        ASSERT_TRUE(again) << name_ << " at byte " << end - length << ": " << again.error().text;
        if (carries_data_block(info.command())) {
            const auto data = reader_.variable();
            again->insert(again->end(), data.begin(), data.end());
            if (integrity_) {
                EXPECT_TRUE(digest(*integrity_, data).equals(reader_.digest()))
                    << name_ << " at byte " << end - length;
            }
        }
        ASSERT_EQ(to_hex(again->size() < 4096 ? *again : std::vector<uint8_t>{}),
                  to_hex(original.size() < 4096 ? original : std::vector<uint8_t>{}))
            << name_ << " at byte " << end - length;
        ASSERT_TRUE(*again == original) << name_ << " at byte " << end - length;
        ++packets_[info.command()];
        follow(info);
    }

    void follow(const PacketInfo& info) {
        if (info.command() == Command::bitmap || info.command() == Command::compressed_bitmap) {
            bitmap_packet(info);
            return;
        }
        ASSERT_FALSE(transfer_) << name_ << ": " << name_of(info.command()) << " inside a bitmap transfer";
        if (info.command() == Command::sizes) {
            const auto sizes = decode_sizes(info, reader_.body());
            if (sizes->d_size_sectors != 0) bits_ = bits_for(sizes->d_size_sectors);
        }
        if (const Phase next = phase_after(info.command()); next != agreement_.phase) {
            agreement_.phase = next;
            reader_.set_agreement(agreement_);
        }
    }

    Phase phase_after(Command command) const {
        switch (command) {
            case Command::initial_data:
                return Phase::features;
            case Command::connection_features:
                return authenticates_ ? Phase::auth_challenge : Phase::protocol;
            case Command::auth_challenge:
                return Phase::auth_response;
            case Command::auth_response:
                return Phase::protocol;
            case Command::initial_meta:
            case Command::protocol:
                return Phase::established;
            default:
                return agreement_.phase;
        }
    }

    // What arrives is the sender's whole bitmap; sending that bitmap again must give the same packets.
    void bitmap_packet(const PacketInfo& info) {
        if (!transfer_) transfer_.emplace(bits_);
        const auto payload = reader_.variable();
        const auto received = transfer_->receiver.receive(info, payload, transfer_->words);
        ASSERT_TRUE(received) << name_ << ": " << received.error().text;
        transfer_->packets.emplace_back(info.command(), to_hex(payload));
        if (!transfer_->receiver.done()) return;
        BitmapSender sender(bits_, use_rle_);
        std::array<uint8_t, bitmap_payload_bytes_max> out{};
        for (const auto& [command, hex] : transfer_->packets) {
            ASSERT_FALSE(sender.done()) << name_;
            const auto chunk = sender.next(transfer_->words, out);
            EXPECT_EQ(name_of(chunk.command), name_of(command)) << name_;
            EXPECT_EQ(to_hex(std::span(out).first(chunk.length_bytes)), hex) << name_;
        }
        EXPECT_TRUE(sender.done()) << name_;
        ++transfers_;
        transfer_.reset();
    }

    struct Transfer {
        explicit Transfer(uint64_t bits) : receiver(bits), words(bitmap_words(bits)) {}
        BitmapReceiver receiver;
        std::vector<uint64_t> words;
        std::vector<std::pair<Command, std::string>> packets;
    };

    std::string name_;
    std::vector<uint8_t> bytes_;
    std::optional<DigestAlgorithm> integrity_;
    bool authenticates_;
    bool use_rle_;
    PacketReader reader_;
    Agreement agreement_;
    std::vector<uint8_t> data_;
    uint64_t bits_ = 0;
    std::optional<Transfer> transfer_;
    std::map<Command, unsigned> packets_;
    unsigned transfers_ = 0;
};

std::string node_at(const std::string& address) {
    return address.starts_with("10.78.0.11:") ? "alpha" : "beta";
}

Socket socket_of(const fs::path& from_opener) {
    const auto bytes = read_gz(from_opener);
    const auto header = decode_header(HeaderFormat::header80, std::span(bytes).first(8));
    EXPECT_TRUE(header) << from_opener;
    return header && header->command == Command::initial_data ? Socket::data : Socket::meta;
}

std::vector<std::string> scenarios() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(fs::path(DUPLEX_SOURCE_DIR) / "tests/golden/wire"))
        if (entry.is_directory()) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

class GoldenWire : public testing::TestWithParam<std::string> {};

TEST_P(GoldenWire, DecodesAndEncodesAgain) {
    const fs::path folder = fs::path(DUPLEX_SOURCE_DIR) / "tests/golden/wire" / GetParam();
    const auto connections = nlohmann::json::parse(read_text(folder / "streams.json"));
    ASSERT_FALSE(connections.empty());
    size_t streams = 0;
    for (const auto& connection : connections) {
        const std::string opener = node_at(connection.at("opener"));
        const std::string acceptor = node_at(connection.at("acceptor"));
        const auto& files = connection.at("files");
        ASSERT_EQ(files.size(), 2u);
        const Socket socket = socket_of(folder / files[0].at("file").get<std::string>());
        for (const auto& file : files) {
            const std::string name = file.at("file");
            const bool sender_opened = name.find("from-opener") != std::string::npos;
            GoldenStream stream(folder / name, socket,
                                read_text(folder / ((sender_opened ? opener : acceptor) + ".conf")),
                                sender_opened);
            EXPECT_EQ(stream.bytes(), file.at("bytes").get<uint64_t>()) << name;
            stream.run();
            ++streams;
            std::string summary;
            for (const auto& [command, count] : stream.packets())
                summary += fmt::format(" {}:{}", name_of(command), count);
            RecordProperty(stream.name(), summary);
        }
    }
    EXPECT_EQ(streams, static_cast<size_t>(
                           std::ranges::count_if(fs::directory_iterator(folder), [](const auto& entry) {
                               return entry.path().filename().string().starts_with("stream") &&
                                      entry.path().extension() == ".gz";
                           })));
}

INSTANTIATE_TEST_SUITE_P(Scenarios, GoldenWire, testing::ValuesIn(scenarios()), [](const auto& info) {
    std::string name = info.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

// An empty or half-copied folder must not pass for a green test.
TEST(GoldenWireFolder, HoldsEveryScenario) {
    EXPECT_EQ(scenarios().size(), 19u);
}

}  // namespace
}  // namespace duplex::wire
