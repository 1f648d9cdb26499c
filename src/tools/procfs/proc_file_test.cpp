#include "tools/procfs/proc_file.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <poll.h>
#include <sstream>
#include <sys/mount.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "control/server.hpp"

namespace duplex::tool {
namespace {

class FakeService final : public control::Service {
  public:
    void execute(const control::Request&, engine::Done done) override { done({}); }
    engine::ResourceStatus status() override {
        engine::ResourceStatus status;
        status.name = "r0";
        status.volumes.emplace_back();
        status.volumes[0].minor = reads_++;
        return status;
    }
    unsigned reads_ = 0;
};

std::string content(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// A resource with one volume, whose minor number is how often it was asked before; served in a thread of its
// own.
class ProcFile : public testing::Test {
  protected:
    void SetUp() override {
        if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/fuse here";
        std::string pattern = (std::filesystem::temp_directory_path() / "duplex-proc-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        run_dir_ = control::RunDir(pattern);
        ASSERT_TRUE(run_dir_.make().ok());
        Result<std::unique_ptr<control::Server>> server =
            control::Server::listen(*run_dir_.socket("r0"), service_);
        ASSERT_TRUE(server.ok()) << server.error().text;
        server_ = std::move(*server);
        ASSERT_EQ(pipe2(stop_, O_CLOEXEC), 0);
        serving_ = std::thread([this] {
            for (;;) {
                pollfd waiting[2] = {{server_->fd(), POLLIN, 0}, {stop_[0], POLLIN, 0}};
                poll(waiting, 2, -1);
                if (waiting[1].revents != 0) break;
                server_->serve();
            }
            server_.reset();
        });
        file_ = start(ended_);
    }
    void TearDown() override {
        if (!file_.joinable()) return;
        end_resource();
        file_.join();
        EXPECT_TRUE(ended_.ok()) << ended_.error().text;
        std::filesystem::remove_all(run_dir_.path());
    }
    void end_resource() {
        if (!serving_.joinable()) return;
        EXPECT_EQ(write(stop_[1], "x", 1), 1);
        serving_.join();
        close(stop_[0]);
        close(stop_[1]);
    }
    std::thread start(Status& ended) {
        std::promise<void> ready;
        std::future<void> is_ready = ready.get_future();
        std::thread thread([this, &ended, ready = std::move(ready)]() mutable {
            ended = serve_proc_file(run_dir_, [&ready] { ready.set_value(); });
        });
        is_ready.wait();
        return thread;
    }
    std::string path() const { return run_dir_.proc() + "/drbd"; }

    control::RunDir run_dir_{""};
    FakeService service_;
    std::unique_ptr<control::Server> server_;
    int stop_[2] = {-1, -1};
    std::thread serving_;
    std::thread file_;
    Status ended_ = Ok{};
};

constexpr const char* head = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: Duplex-0.1.0            \n";

TEST_F(ProcFile, EveryReadFromTheBeginningIsLive) {
    EXPECT_EQ(content(path()), std::string(head) + " 0: cs:Unconfigured\n");
    EXPECT_EQ(content(path()), std::string(head) + "\n 1: cs:Unconfigured\n");
    const int fd = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    char bytes[4096];
    ssize_t length = pread(fd, bytes, sizeof bytes, 0);
    EXPECT_NE(std::string(bytes, static_cast<size_t>(length)).find(" 2: cs"), std::string::npos);
    length = pread(fd, bytes, 8, 9);  // further on: the same text
    EXPECT_EQ(std::string(bytes, static_cast<size_t>(length)), "8.4.11 (");
    length = pread(fd, bytes, sizeof bytes, 0);
    EXPECT_NE(std::string(bytes, static_cast<size_t>(length)).find(" 3: cs"), std::string::npos);
    EXPECT_EQ(pread(fd, bytes, sizeof bytes, 100000), 0);
    close(fd);
}

TEST_F(ProcFile, NobodyWritesAndNothingElseIsThere) {
    EXPECT_LT(open(path().c_str(), O_WRONLY | O_CLOEXEC), 0);
    EXPECT_LT(open((run_dir_.proc() + "/other").c_str(), O_RDONLY | O_CLOEXEC), 0);
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(run_dir_.proc())) {
        names.push_back(entry.path().filename());
    }
    EXPECT_EQ(names, std::vector<std::string>{"drbd"});
}

TEST_F(ProcFile, OneProcessIsEnough) {
    Status second = Ok{};
    start(second).join();
    EXPECT_TRUE(second.ok());
    EXPECT_NE(content(path()), "");
}

TEST_F(ProcFile, EndsWithTheLastResource) {
    end_resource();
    file_.join();
    EXPECT_TRUE(ended_.ok());
    EXPECT_FALSE(std::filesystem::exists(path()));
    std::filesystem::remove_all(run_dir_.path());
}

TEST_F(ProcFile, EndsWhenUnmounted) {
    ASSERT_EQ(umount2(run_dir_.proc().c_str(), MNT_DETACH), 0);
    file_.join();
    EXPECT_TRUE(ended_.ok());
    end_resource();
    std::filesystem::remove_all(run_dir_.path());
}

}  // namespace
}  // namespace duplex::tool
