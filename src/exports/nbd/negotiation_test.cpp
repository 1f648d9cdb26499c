#include "exports/nbd/negotiation.hpp"

#include <string>

#include <gtest/gtest.h>

namespace duplex::exports::nbd {
namespace {

class FakeHost final : public NegotiationHost {
  public:
    bool has_name(std::string_view name) const override {
        return name.empty() || name == "r0/0" || name == "drbd0";
    }
    std::string_view canonical_name() const override { return "r0/0"; }
    std::string_view description() const override { return "a volume"; }
    Result<ExportFacts> look_at_export() override { return facts(); }
    Result<ExportFacts> open_export() override {
        ++opened;
        return facts();
    }
    void log_client(std::string_view what) override { logged = what; }

    Result<ExportFacts> facts() const {
        if (secondary) return error("drbd0 is Secondary: promote first");
        return ExportFacts{1u << 30, false, true};
    }

    bool secondary = false;
    int opened = 0;
    std::string logged;
};

using Bytes = std::vector<uint8_t>;

template <typename T>
void put(Bytes& out, T value) {
    out.resize(out.size() + sizeof value);
    store_be(out.data() + out.size() - sizeof value, value);
}

Bytes option(Option number, const Bytes& data, uint64_t magic = option_magic) {
    Bytes out;
    put(out, magic);
    put(out, static_cast<uint32_t>(number));
    put(out, static_cast<uint32_t>(data.size()));
    out.insert(out.end(), data.begin(), data.end());
    return out;
}

Bytes name_option(Option number, std::string_view name, const std::vector<uint16_t>& infos = {}) {
    Bytes data;
    put(data, static_cast<uint32_t>(name.size()));
    data.insert(data.end(), name.begin(), name.end());
    put(data, static_cast<uint16_t>(infos.size()));
    for (const uint16_t info : infos) put(data, info);
    return option(number, data);
}

struct Reply {
    Option option;
    OptionReply type;
    Bytes data;
    std::string text() const { return {data.begin(), data.end()}; }
};

class NegotiationTest : public testing::Test {
  protected:
    void flags(uint32_t flags = client_flag_fixed_newstyle | client_flag_no_zeroes) {
        Bytes bytes;
        put(bytes, flags);
        send(bytes);
    }

    // Everything at once, as often as it is taken.
    void send(const Bytes& bytes) {
        in_.insert(in_.end(), bytes.begin(), bytes.end());
        while (!in_.empty()) {
            const size_t taken = negotiation_.received(in_, out_);
            in_.erase(in_.begin(), in_.begin() + static_cast<ptrdiff_t>(taken));
            if (taken == 0) break;
        }
    }

    std::vector<Reply> replies() {
        std::vector<Reply> replies;
        size_t at = 0;
        while (at < out_.size()) {
            EXPECT_EQ(load_be<uint64_t>(&out_[at]), option_reply_magic);
            const auto length = load_be<uint32_t>(&out_[at + 16]);
            const auto begin = out_.begin() + static_cast<ptrdiff_t>(at) + 20;
            replies.push_back({Option{load_be<uint32_t>(&out_[at + 8])},
                               OptionReply{load_be<uint32_t>(&out_[at + 12])}, Bytes(begin, begin + length)});
            at += 20 + length;
        }
        out_.clear();
        return replies;
    }

    OptionReply only_reply() {
        const auto all = replies();
        EXPECT_EQ(all.size(), 1u);
        return all.at(0).type;
    }

    FakeHost host_;
    Negotiation negotiation_{host_};
    Bytes in_, out_;
};

using Outcome = Negotiation::Outcome;

TEST_F(NegotiationTest, GreetsAsFixedNewstyle) {
    negotiation_.greet(out_);
    ASSERT_EQ(out_.size(), 18u);
    EXPECT_EQ(std::string(out_.begin(), out_.begin() + 16), "NBDMAGICIHAVEOPT");
    EXPECT_EQ(load_be<uint16_t>(&out_[16]), 3);
}

TEST_F(NegotiationTest, GoTellsSizeFlagsAndBlockSizes) {
    flags();
    send(name_option(Option::go, "r0/0", {3, 1, 2}));
    const auto all = replies();
    ASSERT_EQ(all.size(), 5u);
    EXPECT_EQ(load_be<uint16_t>(all[0].data.data()), 0);
    EXPECT_EQ(load_be<uint64_t>(all[0].data.data() + 2), 1u << 30);
    EXPECT_EQ(load_be<uint16_t>(all[0].data.data() + 10), 0x1ed);
    EXPECT_EQ(load_be<uint16_t>(all[1].data.data()), 3);
    EXPECT_EQ(load_be<uint32_t>(all[1].data.data() + 2), 512u);
    EXPECT_EQ(load_be<uint32_t>(all[1].data.data() + 6), 4096u);
    EXPECT_EQ(load_be<uint32_t>(all[1].data.data() + 10), 1u << 20);
    EXPECT_EQ(all[2].text().substr(2), "r0/0");
    EXPECT_EQ(all[3].text().substr(2), "a volume");
    EXPECT_EQ(all[4].type, OptionReply::ack);
    EXPECT_EQ(negotiation_.outcome(), Outcome::transmission);
    EXPECT_EQ(host_.opened, 1);
}

TEST_F(NegotiationTest, TakesItByteByByte) {
    Bytes all;
    put(all, client_flag_fixed_newstyle);
    for (const Bytes& part : {option(Option::structured_reply, {}), name_option(Option::go, "drbd0")})
        all.insert(all.end(), part.begin(), part.end());
    for (const uint8_t byte : all) send({byte});
    EXPECT_EQ(negotiation_.outcome(), Outcome::transmission);
    EXPECT_TRUE(negotiation_.structured_replies());
    EXPECT_EQ(replies().size(), 4u);
}

TEST_F(NegotiationTest, TakesNothingAfterTheLastOption) {
    Bytes bytes = name_option(Option::go, "");
    const size_t option_bytes = bytes.size();
    bytes.resize(option_bytes + 28, 0x25);
    flags();
    EXPECT_EQ(negotiation_.received(bytes, out_), option_bytes);
    EXPECT_EQ(negotiation_.received(std::span(bytes).subspan(option_bytes), out_), 0u);
}

TEST_F(NegotiationTest, InfoDoesNotOpen) {
    flags();
    send(name_option(Option::info, ""));
    EXPECT_EQ(replies().size(), 3u);
    EXPECT_EQ(host_.opened, 0);
    EXPECT_EQ(negotiation_.outcome(), Outcome::going_on);
}

TEST_F(NegotiationTest, SecondaryIsAPolicyAndSaysWhy) {
    host_.secondary = true;
    flags();
    send(name_option(Option::go, ""));
    const auto all = replies();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].type, OptionReply::error_policy);
    EXPECT_EQ(all[0].text(), "drbd0 is Secondary: promote first");
    EXPECT_EQ(negotiation_.outcome(), Outcome::going_on);
}

TEST_F(NegotiationTest, ExportNameAnswersInTheOldWay) {
    flags(client_flag_fixed_newstyle);
    send(option(Option::export_name, {'r', '0', '/', '0'}));
    EXPECT_EQ(out_.size(), 8u + 2 + 124);
    EXPECT_EQ(negotiation_.outcome(), Outcome::transmission);
}

TEST_F(NegotiationTest, ExportNameCannotBeRefusedButByHangingUp) {
    host_.secondary = true;
    flags();
    send(option(Option::export_name, {}));
    EXPECT_TRUE(out_.empty());
    EXPECT_EQ(negotiation_.outcome(), Outcome::close);
    EXPECT_EQ(host_.logged, "drbd0 is Secondary: promote first");
}

TEST_F(NegotiationTest, ListNamesTheOneExport) {
    flags();
    send(option(Option::list, {}));
    const auto all = replies();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].type, OptionReply::server);
    EXPECT_EQ(all[0].text().substr(4), "r0/0a volume");
    EXPECT_EQ(all[1].type, OptionReply::ack);
}

TEST_F(NegotiationTest, RefusesWhatItDoesNotOffer) {
    const struct {
        Bytes sent;
        OptionReply reply;
    } cases[] = {
        {option(Option::starttls, {}), OptionReply::error_policy},
        {option(Option::starttls, {1}), OptionReply::error_invalid},
        {option(Option::set_meta_context, {0, 0, 0, 0, 0, 0, 0, 0}), OptionReply::error_unsupported},
        {option(Option{4711}, {1, 2, 3}), OptionReply::error_unsupported},
        {option(Option::list, {0}), OptionReply::error_invalid},
        {option(Option::structured_reply, {0}), OptionReply::error_invalid},
        {option(Option::go, {}), OptionReply::error_invalid},
        {option(Option::go, {0, 0, 0, 9, 'x', 0, 0}), OptionReply::error_invalid},
        {option(Option::go, {0xff, 0xff, 0xff, 0xff, 0, 0}), OptionReply::error_invalid},
        {option(Option::go, {0, 0, 0, 0, 0, 2, 0, 3}), OptionReply::error_invalid},
        {name_option(Option::go, "other"), OptionReply::error_unknown},
        {option(Option::list, Bytes(Negotiation::option_bytes_max + 1)), OptionReply::error_too_big},
    };
    flags();
    for (const auto& c : cases) {
        send(c.sent);
        EXPECT_EQ(only_reply(), c.reply);
        EXPECT_EQ(negotiation_.outcome(), Outcome::going_on);
    }
    EXPECT_EQ(host_.opened, 0);
}

TEST_F(NegotiationTest, HangsUpOn) {
    Bytes huge = option(Option::list, {});
    store_be(&huge[12], Negotiation::skipped_bytes_max + 1);
    Bytes long_name = option(Option::export_name, Bytes(Negotiation::option_bytes_max + 1, 'x'));
    const std::pair<Bytes, const char*> cases[] = {
        {option(Option::list, {}, option_magic + 1), "an option without its magic number"},
        {huge, "option 3 with 1048577 bytes of data"},
        {long_name, "option 1 with 8193 bytes of data"},
        {option(Option::export_name, {'n', '\n', 0x1b}),
         "asked for the unknown export 'n?"
         "?'"},
    };
    for (const auto& [sent, why] : cases) {
        Negotiation negotiation(host_);
        const Bytes client_flags = {0, 0, 0, 3};
        ASSERT_EQ(negotiation.received(client_flags, out_), 4u);
        negotiation.received(sent, out_);
        EXPECT_EQ(negotiation.outcome(), Outcome::close);
        EXPECT_EQ(host_.logged, why);
        EXPECT_TRUE(out_.empty());
    }
}

TEST_F(NegotiationTest, HangsUpOnUnknownFlags) {
    flags(8);
    EXPECT_EQ(negotiation_.outcome(), Outcome::close);
}

TEST_F(NegotiationTest, OldClientsMayOnlyNameTheExport) {
    flags(0);
    send(option(Option::list, {}));
    EXPECT_EQ(negotiation_.outcome(), Outcome::close);
    EXPECT_TRUE(out_.empty());
}

TEST_F(NegotiationTest, BoundsTheNumberOfOptions) {
    flags();
    for (unsigned i = 0; i < Negotiation::options_max; ++i) send(option(Option::list, {}));
    EXPECT_EQ(replies().size(), 2u * Negotiation::options_max);
    EXPECT_EQ(negotiation_.outcome(), Outcome::going_on);
    send(option(Option::list, {}));
    EXPECT_TRUE(out_.empty());
    EXPECT_EQ(negotiation_.outcome(), Outcome::close);
}

TEST_F(NegotiationTest, AbortIsAcknowledged) {
    flags();
    send(option(Option::abort, {}));
    EXPECT_EQ(only_reply(), OptionReply::ack);
    EXPECT_EQ(negotiation_.outcome(), Outcome::close);
}

TEST(NbdErrors, MapToTheTenOfTheProtocol) {
    EXPECT_EQ(wire_error_of(0), WireError::none);
    EXPECT_EQ(wire_error_of(EROFS), WireError::permission);
    EXPECT_EQ(wire_error_of(EMEDIUMTYPE), WireError::permission);
    EXPECT_EQ(wire_error_of(ENOSPC), WireError::no_space);
    EXPECT_EQ(wire_error_of(EINVAL), WireError::invalid);
    EXPECT_EQ(wire_error_of(EOPNOTSUPP), WireError::not_supported);
    EXPECT_EQ(wire_error_of(ESHUTDOWN), WireError::shutdown);
    EXPECT_EQ(wire_error_of(ENODATA), WireError::io);
}

}  // namespace
}  // namespace duplex::exports::nbd
