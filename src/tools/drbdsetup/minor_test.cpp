#include "tools/drbdsetup/minor.hpp"

#include <filesystem>

#include <gtest/gtest.h>

namespace duplex::drbdsetup {
namespace {

TEST(Minor, IsANumberOrADevice) {
    EXPECT_EQ(minor_of("0"), 0u);
    EXPECT_EQ(minor_of("1048575"), 1048575u);
    EXPECT_EQ(minor_of("/dev/drbd12"), 12u);
    for (const char* none :
         {"", "1048576", "99999999999999", "-1", "x", "drbd0", "/dev/drbd", "/dev/null", "/tmp"})
        EXPECT_EQ(minor_of(none), std::nullopt) << none;
}

// udev's links, also when what carries the device is not there to be looked at.
TEST(Minor, IsFoundThroughLinks) {
    namespace fs = std::filesystem;
    const fs::path directory = fs::path(testing::TempDir()) / "by-res";
    fs::remove_all(directory);
    fs::create_directories(directory / "r0");
    fs::create_symlink("/dev/drbd987654", directory / "device");
    fs::create_symlink("../device", directory / "r0" / "0");
    fs::create_symlink("loop", directory / "loop");
    EXPECT_EQ(minor_of((directory / "r0" / "0").string()), 987654u);
    EXPECT_EQ(minor_of((directory / "loop").string()), std::nullopt);
    fs::remove_all(directory);
}

}  // namespace
}  // namespace duplex::drbdsetup
