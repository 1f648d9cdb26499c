#include "tools/drbdsetup/output.hpp"

#include <array>
#include <csignal>
#include <unistd.h>

#include <gtest/gtest.h>

namespace duplex::drbdsetup {
namespace {

TEST(Output, DoesNotWaitForASlowReader) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    const std::string line(1000, 'x');
    constexpr size_t lines = 1000;  // much more than a pipe holds
    std::string read_text;
    {
        Output output(ends[1]);
        for (size_t i = 0; i < lines; ++i) EXPECT_TRUE(output.put(line));
        std::array<char, 65536> bytes{};
        while (read_text.size() < lines * line.size()) {
            const ssize_t length = read(ends[0], bytes.data(), bytes.size());
            ASSERT_GT(length, 0);
            read_text.append(bytes.data(), static_cast<size_t>(length));
        }
    }
    EXPECT_EQ(read_text, std::string(lines * line.size(), 'x'));
    close(ends[0]);
    close(ends[1]);
}

TEST(Output, NoticesThatNobodyReads) {
    std::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    close(ends[0]);
    Output output(ends[1]);
    while (output.put("x")) {
    }
    close(ends[1]);
}

}  // namespace
}  // namespace duplex::drbdsetup
