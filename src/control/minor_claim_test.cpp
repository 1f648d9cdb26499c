#include "control/minor_claim.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace duplex::control {
namespace {

class MinorClaimTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (std::filesystem::temp_directory_path() / "duplex-claim-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        run_dir_ = RunDir(pattern + "/run");
        ASSERT_TRUE(run_dir_.make().ok());
    }
    void TearDown() override {
        std::filesystem::remove_all(std::filesystem::path(run_dir_.path()).parent_path());
    }

    RunDir run_dir_{""};
};

TEST_F(MinorClaimTest, OneOwnerAtATime) {
    {
        const Result<MinorClaim> claim = MinorClaim::take(run_dir_, 3, "r0");
        ASSERT_TRUE(claim.ok()) << claim.error().text;
        EXPECT_EQ(resource_of_minor(run_dir_, 3), "r0");
        const Result<MinorClaim> second = MinorClaim::take(run_dir_, 3, "r1");
        ASSERT_FALSE(second.ok());
        EXPECT_EQ(second.error().text, "minor 3 belongs to resource r0");
        EXPECT_EQ(resource_of_minor(run_dir_, 3), "r0");
        EXPECT_EQ(minors_of(run_dir_, "r0"), std::vector{3u});
    }
    EXPECT_EQ(resource_of_minor(run_dir_, 3), std::nullopt);
    EXPECT_FALSE(std::filesystem::exists(run_dir_.minor(3)));
    EXPECT_TRUE(MinorClaim::take(run_dir_, 3, "r1").ok());
}

TEST_F(MinorClaimTest, WhatADeadProcessLeftSaysNothing) {
    std::ofstream(run_dir_.minor(0)) << "r9\n";
    EXPECT_EQ(resource_of_minor(run_dir_, 0), std::nullopt);
    EXPECT_TRUE(minors_of(run_dir_, "r9").empty());
    EXPECT_EQ(minors_left_by(run_dir_, "r9"), std::vector{0u});
    const Result<MinorClaim> claim = MinorClaim::take(run_dir_, 0, "r0");
    ASSERT_TRUE(claim.ok());
    EXPECT_EQ(resource_of_minor(run_dir_, 0), "r0");
}

TEST_F(MinorClaimTest, MovesWithItsObject) {
    Result<MinorClaim> claim = MinorClaim::take(run_dir_, 1, "r0");
    ASSERT_TRUE(claim.ok());
    std::vector<MinorClaim> claims;
    claims.push_back(std::move(*claim));
    EXPECT_EQ(resource_of_minor(run_dir_, 1), "r0");
    claims.clear();
    EXPECT_EQ(resource_of_minor(run_dir_, 1), std::nullopt);
}

TEST(RunDir, NamesOfResourcesAsFiles) {
    const RunDir run_dir("/run/duplex");
    EXPECT_EQ(*run_dir.socket("r0"), "/run/duplex/r0.sock");
    EXPECT_EQ(*run_dir.socket("a/b%"), "/run/duplex/a%2fb%25.sock");
    EXPECT_FALSE(run_dir.socket(std::string(100, 'x')).ok());
}

TEST_F(MinorClaimTest, WhatIsPublishedIsThereAsLongAsTheOwner) {
    EXPECT_FALSE(published_by_minor(run_dir_, 3));
    {
        const Result<MinorClaim> claim = MinorClaim::take(run_dir_, 3, "r0");
        ASSERT_TRUE(claim.ok());
        EXPECT_FALSE(published_by_minor(run_dir_, 3));
        for (const engine::ResyncAfter entry :
             {engine::ResyncAfter{-1, true, true}, engine::ResyncAfter{1048575, false, false}}) {
            ASSERT_TRUE(claim->publish(entry).ok());
            EXPECT_EQ(published_by_minor(run_dir_, 3), entry);
        }
        EXPECT_EQ(resource_of_minor(run_dir_, 3), "r0");
    }
    EXPECT_FALSE(published_by_minor(run_dir_, 3));
}

}  // namespace
}  // namespace duplex::control
