#include "config/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::config {
namespace {

int64_t number_of(std::string_view text, NumberUnit unit) {
    Result<int64_t> number = parse_number(text, unit);
    EXPECT_TRUE(number.ok()) << text;
    return number ? *number : -4711;
}

TEST(Options, NumbersWithUnits) {  // the table of cli 5.1
    struct Row {
        const char* text;
        int64_t one, kib, sectors;
    };
    const Row rows[] = {{"10", 10, 10, 10},
                        {"10K", 10240, 10, 20},
                        {"10k", 10240, 10, 20},
                        {"10M", 10485760, 10240, 20480},
                        {"10s", 5120, 5, 10},
                        {"1s", 512, 1, 1},
                        {"1G", 1 << 30, 1 << 20, 1 << 21}};
    for (const Row& row : rows) {
        EXPECT_EQ(number_of(row.text, NumberUnit::one), row.one) << row.text;
        EXPECT_EQ(number_of(row.text, NumberUnit::kib), row.kib) << row.text;
        EXPECT_EQ(number_of(row.text, NumberUnit::sectors), row.sectors) << row.text;
    }
}

TEST(Options, NumbersRefused) {
    for (const char* text :
         {"abc", "10MB", "1T", "-", "K", "1x", "99999999999999999999", "99999999999999G"}) {
        Result<int64_t> number = parse_number(text, NumberUnit::one);
        ASSERT_FALSE(number.ok()) << text;
        EXPECT_EQ(number.error().text, std::string(text) + " is not a valid number");
    }
    EXPECT_EQ(parse_number("", NumberUnit::one).error().text, "missing number argument");
}

TEST(Options, RangeErrorsNameTheUnit) {
    DiskOptions disk;
    Status status = set_option(disk, "resync-rate", "5G");
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().text, "resync-rate 5G => 5242880k out of range [1..4194304]k.");
    EXPECT_EQ(disk, DiskOptions{});
}

TEST(Options, ActivityLogOf83IsRaised) {
    DiskOptions disk;
    ASSERT_TRUE(set_option(disk, "al-extents", "7").ok());
    EXPECT_EQ(disk.al_extents, 67u);
}

TEST(Options, TypedFieldsAreSetByName) {
    NetOptions net;
    ASSERT_TRUE(set_option(net, "protocol", "a").ok());
    ASSERT_TRUE(set_option(net, "after-sb-1pri", "discard-secondary").ok());
    ASSERT_TRUE(set_option(net, "shared-secret", "my secret").ok());
    ASSERT_TRUE(set_option(net, "allow-two-primaries", "yes").ok());
    ASSERT_TRUE(set_option(net, "congestion-fill", "1M").ok());
    EXPECT_EQ(net.protocol, Protocol::a);
    EXPECT_EQ(net.after_sb_1pri, AfterSplitBrain::discard_secondary);
    EXPECT_EQ(net.shared_secret, "my secret");
    EXPECT_TRUE(net.allow_two_primaries);
    EXPECT_EQ(net.congestion_fill_sectors, 2048u);
}

TEST(Options, WrongWordsAreRefused) {
    NetOptions net;
    EXPECT_EQ(set_option(net, "after-sb-2pri", "consensus").error().text,
              "Option --after-sb-2pri: invalid argument 'consensus'");
    EXPECT_EQ(set_option(net, "allow-two-primaries", "maybe").error().text,
              "Option --allow-two-primaries: invalid argument 'maybe'");
    EXPECT_EQ(set_option(net, "nosuch", "1").error().text, "unrecognized option '--nosuch'");
    EXPECT_FALSE(set_option(net, "shared-secret", std::string(64, 'x')).ok());
}

template <typename Options>
void every_default_reads_back() {
    for (const Field<Options>& field : fields_of<Options>()) {
        const Value value = field.get(Options{});
        EXPECT_EQ(value, default_value(field.option)) << field.option.name;
        EXPECT_EQ(find_option(field.option.group, field.option.name), &field.option);
        if (field.option.type == OptionType::text) continue;
        Result<Value> again = parse_value(field.option, format_value(field.option, value));
        ASSERT_TRUE(again.ok()) << field.option.name;
        EXPECT_EQ(*again, value) << field.option.name;
    }
}

TEST(Options, DefaultsAreInRangeAndReadBack) {
    every_default_reads_back<ResourceOptions>();
    every_default_reads_back<NetOptions>();
    every_default_reads_back<DiskOptions>();
    every_default_reads_back<StartupOptions>();
    every_default_reads_back<CommandOptions>();
}

TEST(Options, ShownAsDrbdsetupShowsThem) {
    const Option* rate = find_option(OptionGroup::disk, "resync-rate");
    ASSERT_NE(rate, nullptr);
    EXPECT_EQ(format_value(*rate, int64_t{10240}), "10240k");
    const Option* secret = find_option(OptionGroup::net, "shared-secret");
    ASSERT_NE(secret, nullptr);
    EXPECT_EQ(format_value(*secret, std::string("a\"b\\c")), "\"a\\\"b\\\\c\"");
    EXPECT_EQ(options_of(OptionGroup::net).size(), 29u);
    EXPECT_EQ(options_of(OptionGroup::disk).size(), 22u);
    EXPECT_EQ(options_of(OptionGroup::handlers).size(), 12u);
}

}  // namespace
}  // namespace duplex::config
