#include "duplexd/handlers.hpp"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::duplexd {
namespace {

using testing::ElementsAre;

class Handlers : public testing::Test {
  protected:
    void SetUp() override {
        for (const char* const name :
             {"DUPLEX_RUN_DIR", "DUPLEX_CONF", "DUPLEX_LOCK_DIR", "DUPLEX_STATE_DIR"}) {
            unsetenv(name);
        }
    }
};

TEST_F(Handlers, ForAMinor) {
    const engine::Endpoint peer{"ipv4", "10.0.0.2", 7788};
    const runtime::HandlerCommand command =
        handler_command("/sbin/drbdadm", "before-resync-target", 7, "r0", &peer);
    EXPECT_EQ(command.command, "exec /sbin/drbdadm before-resync-target minor-7");
    EXPECT_THAT(command.environment, ElementsAre("HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin",
                                                 "DRBD_PEER_AF=ipv4", "DRBD_PEER_ADDRESS=10.0.0.2"));
}

TEST_F(Handlers, ForAResourceWithAStrangeNameAndIpv6) {
    const engine::Endpoint peer{"ipv6", "fe80::1%eth0", 7788};
    setenv("DUPLEX_RUN_DIR", "/tmp/run", 1);
    const runtime::HandlerCommand command = handler_command("drbdadm", "fence-peer", -1, "a b;c", &peer);
    EXPECT_EQ(command.command, "exec drbdadm fence-peer a\\ b\\;c");
    EXPECT_THAT(
        command.environment,
        ElementsAre("HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin", "DRBD_PEER_AF=ipv6",
                    "DRBD_PEER_ADDRESS=fe80:0000:0000:0000:0000:0000:0000:0001", "DUPLEX_RUN_DIR=/tmp/run"));
    unsetenv("DUPLEX_RUN_DIR");
}

TEST_F(Handlers, WithoutAConnection) {
    EXPECT_THAT(handler_command("drbdadm", "pri-lost", 0, "r0", nullptr).environment,
                ElementsAre("HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"));
}

}  // namespace
}  // namespace duplex::duplexd
