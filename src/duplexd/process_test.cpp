// A whole process in a thread, with its socket, and tools that talk to it. No disks and no exports here.
#include "duplexd/process.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <sched.h>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "control/client.hpp"
#include "control/reply_text.hpp"

namespace duplex::duplexd {
namespace {

using control::Client;
using control::Request;
using engine::Reply;

class ProcessTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (std::filesystem::temp_directory_path() / "duplex-process-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        run_dir_ = control::RunDir(pattern + "/run");
        thread_ = start("r0");
    }
    void TearDown() override {
        if (thread_.joinable()) {
            EXPECT_EQ(execute(Request{"down", -1, {}, {}}).code, 101);
            thread_.join();
        }
        std::filesystem::remove_all(std::filesystem::path(run_dir_.path()).parent_path());
    }

    std::thread start(const std::string& resource) {
        std::promise<std::string> failure;
        std::future<std::string> started = failure.get_future();
        std::thread thread([this, resource, failure = std::move(failure)]() mutable {
            const Settings settings{.export_nbd = false, .export_device = false};
            Result<std::unique_ptr<Process>> process = Process::start(resource, settings, run_dir_);
            failure.set_value(process ? std::string() : process.error().text);
            if (process) (*process)->run();
        });
        start_failure_ = started.get();
        return thread;
    }
    Client connect(const std::string& resource = "r0") {
        control::ConnectFailure failure;
        std::optional<Client> client = Client::connect(run_dir_, resource, failure);
        EXPECT_TRUE(client.has_value()) << failure.text;
        return std::move(*client);
    }
    Reply execute(const Request& request, const std::string& resource = "r0") {
        Client client = connect(resource);
        const Result<Reply> reply = client.execute(request);
        EXPECT_TRUE(reply.ok()) << reply.error().text;
        return reply ? *reply : Reply{0, {}};
    }
    Reply new_minor(int minor, const std::string& volume) {
        return execute(Request{"new-minor", minor, {volume}, {}});
    }

    control::RunDir run_dir_{""};
    std::thread thread_;
    std::string start_failure_;
};

TEST_F(ProcessTest, MinorsAreMadeOnce) {
    EXPECT_EQ(new_minor(3, "0").code, 101);
    EXPECT_EQ(control::resource_of_minor(run_dir_, 3), "r0");
    EXPECT_EQ(new_minor(3, "0").code, 101);
    EXPECT_EQ(new_minor(3, "1").code, 162);
    EXPECT_EQ(new_minor(4, "0").code, 161);
    EXPECT_EQ(new_minor(1 << 20, "1").code, 162);
    EXPECT_EQ(new_minor(5, "x").code, 162);
    EXPECT_EQ(new_minor(5, "65536").code, 162);
    EXPECT_EQ(new_minor(4, "1").code, 101);
    Client client = connect();
    const Result<engine::ResourceStatus> status = client.status();
    ASSERT_TRUE(status.ok()) << status.error().text;
    ASSERT_EQ(status->volumes.size(), 2u);
    EXPECT_EQ(status->volumes[1].minor, 4u);
}

TEST_F(ProcessTest, AMinorOfAnotherResourceIsRefused) {
    std::thread other = start("r1");
    ASSERT_EQ(start_failure_, "");
    EXPECT_EQ(execute(Request{"new-minor", 3, {"0"}, {}}, "r1").code, 101);
    const Reply reply = new_minor(3, "0");
    EXPECT_EQ(reply.code, 162);
    EXPECT_EQ(reply.info, "minor exists in different resource\nminor 3 belongs to resource r1");
    EXPECT_EQ(execute(Request{"down", -1, {}, {}}, "r1").code, 101);
    other.join();
    EXPECT_EQ(new_minor(3, "0").code, 101);
}

TEST_F(ProcessTest, OneProcessPerResource) {
    std::thread second = start("r0");
    second.join();
    EXPECT_NE(start_failure_.find("already listens"), std::string::npos) << start_failure_;
    EXPECT_EQ(new_minor(0, "0").code, 101);
}

TEST_F(ProcessTest, TheResourceGoesLast) {
    EXPECT_EQ(new_minor(0, "0").code, 101);
    EXPECT_EQ(execute(Request{"del-resource", -1, {}, {}}).code, 159);
    EXPECT_EQ(execute(Request{"del-minor", 1, {}, {}}).code, 127);
    EXPECT_EQ(execute(Request{"del-minor", 0, {}, {}}).code, 101);
    EXPECT_EQ(control::resource_of_minor(run_dir_, 0), std::nullopt);
    EXPECT_EQ(execute(Request{"del-resource", -1, {}, {}}).code, 101);
    thread_.join();
    EXPECT_TRUE(run_dir_.resources().empty());
}

TEST_F(ProcessTest, WhatTheEngineRefusesComesBack) {
    EXPECT_EQ(new_minor(0, "0").code, 101);
    EXPECT_EQ(execute(Request{"primary", 0, {}, {}}).code, -2);
    EXPECT_EQ(execute(Request{"primary", 9, {}, {}}).code, 127);
    EXPECT_EQ(execute(Request{"primary", 0, {}, {{"speed", "9"}}}).code, 162);
    EXPECT_EQ(execute(Request{"fly", -1, {}, {}}).code, 162);
    EXPECT_EQ(execute(Request{"attach", 0, {"/nonexistent", "/nonexistent", "internal"}, {}}).code, 104);
    EXPECT_EQ(execute(Request{"disconnect", -1, {"10.0.0.1", "10.0.0.2"}, {}}).code, 162);
}

TEST_F(ProcessTest, OptionsOfTheResource) {
    const Reply made = execute(Request{"new-resource", -1, {}, {{"on-no-data-accessible", "suspend-io"}}});
    EXPECT_EQ(control::exit_status_of(made.code), 0);
    Client client = connect();
    EXPECT_EQ(client.status()->options.on_no_data_accessible, config::OnNoData::suspend_io);
    const Reply changed = execute(Request{"resource-options", -1, {}, {{"set-defaults", "yes"}}});
    EXPECT_EQ(control::exit_status_of(changed.code), 0);
    EXPECT_EQ(client.status()->options, config::ResourceOptions{});
}

// The CPUs that every thread of this process may use, as the kernel says it.
std::multiset<std::string> cpus_of_threads() {
    std::multiset<std::string> found;
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream status(thread.path() / "status");
        for (std::string line; std::getline(status, line);)
            if (line.starts_with("Cpus_allowed_list:")) found.insert(line.substr(line.find('\t') + 1));
    }
    return found;
}

TEST_F(ProcessTest, RunsOnTheCpusThatWereChosen) {
    const auto before = cpus_of_threads();
    cpu_set_t all{};
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    if (CPU_COUNT(&all) < 2 || !CPU_ISSET(1, &all)) GTEST_SKIP() << "there is no choice of CPUs here";
    const auto choose = [&](const std::string& mask) {
        return control::exit_status_of(
            execute(Request{"resource-options", -1, {}, {{"cpu-mask", mask}}}).code);
    };
    EXPECT_EQ(choose("2"), 0);
    EXPECT_EQ(cpus_of_threads().count("1"), 1u);
    EXPECT_EQ(execute(Request{"resource-options", -1, {}, {{"cpu-mask", "x"}}}).code, 143);
    EXPECT_EQ(cpus_of_threads().count("1"), 1u);
    EXPECT_EQ(choose("0"), 0);
    EXPECT_EQ(cpus_of_threads(), before);
    const Reply made = execute(Request{"new-resource", -1, {}, {{"cpu-mask", "2"}}});
    EXPECT_EQ(control::exit_status_of(made.code), 0);
    EXPECT_EQ(cpus_of_threads().count("1"), 1u);
    EXPECT_EQ(choose("80000000,00000000"), 0);  // none of this machine's
    EXPECT_EQ(cpus_of_threads(), before);
}

TEST_F(ProcessTest, SubscribersHearOfNewVolumesAndOfTheEnd) {
    Client client = connect();
    ASSERT_TRUE(client.subscribe().ok());
    Result<std::optional<control::Event>> event = client.next_event();
    ASSERT_TRUE(event.ok() && event->has_value());
    EXPECT_TRUE(std::get<control::StatusEvent>(**event).status.volumes.empty());
    EXPECT_EQ(new_minor(0, "0").code, 101);
    event = client.next_event();
    ASSERT_TRUE(event.ok() && event->has_value());
    EXPECT_EQ(std::get<control::StatusEvent>(**event).status.volumes.size(), 1u);
    EXPECT_EQ(execute(Request{"down", -1, {}, {}}).code, 101);
    do {
        event = client.next_event();
        ASSERT_TRUE(event.ok());
    } while (event->has_value());
    thread_.join();
}

}  // namespace
}  // namespace duplex::duplexd
