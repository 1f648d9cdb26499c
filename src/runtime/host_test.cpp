#include "runtime/host.hpp"

#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "runtime/test_loop.hpp"

namespace duplex::runtime {
namespace {

class Recorder final : public HostEvents {
  public:
    void changed(int volume) override { changes.push_back(volume); }
    HandlerCommand handler(std::string_view name, int minor) override {
        asked_minor = minor;
        const auto found = commands.find(std::string(name));
        return found == commands.end() ? HandlerCommand{} : HandlerCommand{found->second, environment};
    }
    std::map<std::string, std::string> commands;
    std::vector<std::string> environment{"PATH=/usr/bin:/bin"};
    std::vector<int> changes;
    int asked_minor = -2;
};

class HostTest : public LoopTest {
  protected:
    int run(const std::string& name) {
        int exit_code = -1;
        host.run_handler(name, 7, [&](int code) { exit_code = code; });
        EXPECT_EQ(exit_code, -1) << "answered from inside the call";
        EXPECT_TRUE(turn_until([&] { return exit_code != -1; }));
        EXPECT_EQ(recorder.asked_minor, 7);
        return exit_code;
    }
    Recorder recorder;
    Host host{*loop, recorder};
    TestFolder folder;
};

TEST_F(HostTest, HandlersReportTheirExitCode) {
    recorder.commands = {{"split-brain", "exit 0"}, {"fence-peer", "exit 7"}};
    EXPECT_EQ(run("fence-peer"), 7);
    EXPECT_EQ(run("split-brain"), 0);
}

TEST_F(HostTest, AHandlerThatIsNotConfiguredCountsAsZero) {
    EXPECT_EQ(run("out-of-sync"), 0);
}

TEST_F(HostTest, AHandlerKilledByASignalIsNotASuccess) {
    recorder.commands = {{"fence-peer", "kill -9 $$"}};
    EXPECT_EQ(run("fence-peer"), 128 + SIGKILL);
}

TEST_F(HostTest, AMissingProgramIsTheShellsError) {
    recorder.commands = {{"fence-peer", "/no/such/program"}};
    EXPECT_EQ(run("fence-peer"), 127);
}

TEST_F(HostTest, HandlersSeeExactlyTheEnvironmentGivenAndUnblockedSignals) {
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    recorder.environment = {"PATH=/usr/bin:/bin", "DRBD_RESOURCE=r 0"};
    recorder.commands = {{"fence-peer", "echo \"[$DRBD_RESOURCE]$HOME\" > " + folder.file("out") +
                                            "; grep SigBlk /proc/self/status >> " + folder.file("out")}};
    EXPECT_EQ(run("fence-peer"), 0);
    std::stringstream text;
    text << std::ifstream(folder.file("out")).rdbuf();
    EXPECT_EQ(text.str(), "[r 0]\nSigBlk:\t0000000000000000\n");
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(HostTest, TheLoopGoesOnWhileHandlersRun) {
    recorder.commands = {{"a", "read line < " + folder.file("pipe")}, {"b", "exit 3"}};
    ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
    int a = -1;
    host.run_handler("a", -1, [&](int code) { a = code; });
    EXPECT_EQ(run("b"), 3);
    EXPECT_EQ(a, -1);
    std::ofstream(folder.file("pipe")) << "go\n";
    ASSERT_TRUE(turn_until([&] { return a != -1; }));
    EXPECT_EQ(a, 0);
}

TEST_F(HostTest, AbandonedHandlersAreNotHeardOf) {
    recorder.commands = {{"a", "read line < " + folder.file("pipe")}};
    ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
    host.run_handler("a", -1, [&](int) { ADD_FAILURE(); });
    loop->turn(0);
    host.abandon_handlers();
    loop->drain();
    std::ofstream(folder.file("pipe")) << "go\n";  // it runs on and ends by itself
}

TEST_F(HostTest, RandomNumbersDiffer) {
    std::set<uint64_t> seen;
    for (int i = 0; i < 100; ++i) seen.insert(host.random64());
    EXPECT_EQ(seen.size(), 100u);
    std::vector<uint8_t> bytes(100'000);
    host.random_bytes(bytes);
    std::set<uint8_t> values(bytes.begin(), bytes.end());
    EXPECT_EQ(values.size(), 256u);
}

TEST_F(HostTest, ChangesAreForwarded) {
    host.changed(3);
    host.changed(-1);
    EXPECT_EQ(recorder.changes, (std::vector<int>{3, -1}));
}

}  // namespace
}  // namespace duplex::runtime
