#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "control/client.hpp"
#include "control/follower.hpp"
#include "control/minor_claim.hpp"
#include "control/node.hpp"
#include "control/server.hpp"
#include "control/test_status.hpp"

namespace duplex::control {
namespace {

// Answers "later" only when it is told to, everything else at once.
class FakeService final : public Service {
  public:
    void execute(const Request& request, engine::Done done) override {
        if (request.command == "later") {
            later_ = std::move(done);
        } else {
            done(engine::Reply{101, request.command});
        }
    }
    engine::ResourceStatus status() override { return status_; }

    engine::ResourceStatus status_ = test_resource();
    engine::Done later_;
};

class ClientServer : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (std::filesystem::temp_directory_path() / "duplex-control-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        run_dir_ = RunDir(pattern);
        ASSERT_TRUE(run_dir_.make().ok());
        server_ = start();
        ASSERT_NE(server_, nullptr);
    }
    void TearDown() override {
        server_.reset();
        std::filesystem::remove_all(run_dir_.path());
    }

    std::unique_ptr<Server> start() {
        Result<std::unique_ptr<Server>> server = Server::listen(*run_dir_.socket("r0"), service_);
        if (!server) {
            failure_ = server.error().text;
            return nullptr;
        }
        return std::move(*server);
    }
    // Until nothing more is due.
    void serve() {
        pollfd waiting{server_->fd(), POLLIN, 0};
        while (poll(&waiting, 1, 0) > 0) server_->serve();
    }
    static bool poll_of(const Server& server) {
        pollfd waiting{server.fd(), POLLIN, 0};
        return poll(&waiting, 1, 0) > 0;
    }
    // The server works in a thread of its own while the caller blocks in the client.
    template <typename Call>
    auto served(Call&& call) {
        int stop[2];
        EXPECT_EQ(pipe(stop), 0);
        std::thread server([this, &stop] {
            for (;;) {
                pollfd waiting[2] = {{server_->fd(), POLLIN, 0}, {stop[0], POLLIN, 0}};
                poll(waiting, 2, -1);
                if (waiting[1].revents != 0) return;
                server_->serve();
            }
        });
        auto result = call();
        EXPECT_EQ(write(stop[1], "x", 1), 1);
        server.join();
        close(stop[0]);
        close(stop[1]);
        return result;
    }
    Client connect() {
        ConnectFailure failure;
        std::optional<Client> client = Client::connect(run_dir_, "r0", failure);
        EXPECT_TRUE(client.has_value()) << failure.text;
        return std::move(*client);
    }
    int raw_socket() {
        const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        run_dir_.socket("r0")->copy(address.sun_path, sizeof(address.sun_path) - 1);
        EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        return fd;
    }
    static std::string read_all(int fd) {
        std::string text;
        char bytes[4096];
        for (ssize_t length; (length = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;) {
            text.append(bytes, static_cast<size_t>(length));
        }
        return text;
    }

    RunDir run_dir_{""};
    FakeService service_;
    std::unique_ptr<Server> server_;
    std::string failure_;
};

TEST_F(ClientServer, CommandsAndStatus) {
    Client client = connect();
    const auto reply = served([&] { return client.execute(Request{"role", 0, {}, {}}); });
    ASSERT_TRUE(reply.ok()) << reply.error().text;
    EXPECT_EQ(reply->info, "role");
    const auto status = served([&] { return client.status(); });
    ASSERT_TRUE(status.ok()) << status.error().text;
    EXPECT_EQ(status->name, "r0");
    struct stat file {};
    ASSERT_EQ(stat(run_dir_.socket("r0")->c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 07777, 0600u);
}

TEST_F(ClientServer, OneRequestAtATimeInTheirOrder) {
    const int fd = raw_socket();
    const std::string lines = "{\"command\":\"later\"}\n{\"command\":\"next\"}\n";
    ASSERT_EQ(write(fd, lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
    serve();
    EXPECT_EQ(read_all(fd), "");
    ASSERT_TRUE(service_.later_);
    service_.later_(engine::Reply{1, "late"});
    serve();
    EXPECT_EQ(read_all(fd),
              "{\"reply\":{\"code\":1,\"info\":\"late\"}}\n{\"reply\":{\"code\":101,\"info\":\"next\"}}\n");
    close(fd);
}

TEST_F(ClientServer, AnAnswerAfterTheToolHasGoneIsDropped) {
    const int fd = raw_socket();
    ASSERT_EQ(write(fd, "{\"command\":\"later\"}\n", 20), 20);
    serve();
    close(fd);
    serve();
    ASSERT_TRUE(service_.later_);
    service_.later_(engine::Reply{});
    serve();
    server_.reset();
    service_.later_(engine::Reply{});
}

TEST_F(ClientServer, RubbishIsAnsweredAndClosed) {
    const int fd = raw_socket();
    ASSERT_EQ(write(fd, "drbd\n", 5), 5);
    serve();
    EXPECT_EQ(read_all(fd), "{\"reply\":{\"code\":162,\"info\":\"malformed message: no JSON\"}}\n");
    char byte;
    EXPECT_EQ(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
}

TEST_F(ClientServer, EndlessRequestIsRefused) {
    const int fd = raw_socket();
    const std::string chunk(16384, 'x');
    for (int i = 0; i < 32; ++i) {
        if (send(fd, chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
        serve();
    }
    EXPECT_EQ(read_all(fd), "{\"reply\":{\"code\":162,\"info\":\"request too long\"}}\n");
    close(fd);
}

TEST_F(ClientServer, TooManyTools) {
    std::vector<int> fds;
    for (size_t i = 0; i < Server::clients_max; ++i) {
        fds.push_back(raw_socket());
        serve();
    }
    const int one_more = raw_socket();
    serve();
    EXPECT_NE(read_all(one_more).find("too many tools"), std::string::npos);
    close(fds.back());
    fds.pop_back();
    serve();
    const int again = raw_socket();
    serve();
    EXPECT_EQ(read_all(again), "");
    for (const int fd : fds) close(fd);
    close(one_more);
    close(again);
}

TEST_F(ClientServer, SubscribersHearOfChanges) {
    Client client = connect();
    ASSERT_TRUE(client.subscribe().ok());
    serve();
    Result<std::optional<Event>> event = client.next_event();
    ASSERT_TRUE(event.ok() && event->has_value());
    EXPECT_EQ(std::get<StatusEvent>(**event).status.volumes[0].state.role, wire::Role::primary);
    service_.status_.volumes[0].state.role = wire::Role::secondary;
    server_->state_changed();
    server_->helper_event("fence-peer", -1, 1024);
    event = client.next_event();
    ASSERT_TRUE(event.ok() && event->has_value());
    EXPECT_EQ(std::get<StatusEvent>(**event).status.volumes[0].state.role, wire::Role::secondary);
    event = client.next_event();
    ASSERT_TRUE(event.ok() && event->has_value());
    EXPECT_EQ(std::get<HelperEvent>(**event).wait_status, 1024);
    server_.reset();
    event = client.next_event();
    ASSERT_TRUE(event.ok());
    EXPECT_FALSE(event->has_value());
}

TEST_F(ClientServer, ASlowSubscriberGetsTheLatestStatus) {
    Client client = connect();
    ASSERT_TRUE(client.subscribe().ok());
    serve();
    constexpr unsigned changes = 4000;
    for (unsigned i = 0; i <= changes; ++i) {
        service_.status_.volumes[0].openers = i;
        server_->state_changed();
    }
    unsigned received = 0;
    uint64_t skipped = 0;
    unsigned last = 0;
    while (last < changes) {
        serve();
        Result<std::optional<Event>> event = client.next_event();
        ASSERT_TRUE(event.ok() && event->has_value());
        if (const auto* lost = std::get_if<SkippedEvents>(&**event)) {
            skipped += lost->count;
        } else {
            ++received;
            last = std::get<StatusEvent>(**event).status.volumes[0].openers;
        }
    }
    EXPECT_GT(skipped, 0u);
    EXPECT_LT(received, changes);
}

TEST_F(ClientServer, ALivingProcessKeepsItsSocketADeadOneDoesNot) {
    EXPECT_EQ(start(), nullptr);
    EXPECT_NE(failure_.find("already listens"), std::string::npos);
    server_.reset();
    EXPECT_TRUE(run_dir_.resources().empty());
    // What a killed process leaves behind.
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    run_dir_.socket("r0")->copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    close(fd);
    ConnectFailure failure;
    EXPECT_FALSE(Client::connect(run_dir_, "r0", failure).has_value());
    EXPECT_EQ(failure.absence, Absence::dead);
    EXPECT_FALSE(Client::connect(run_dir_, "r1", failure).has_value());
    EXPECT_EQ(failure.absence, Absence::none);
    server_ = start();
    EXPECT_NE(server_, nullptr) << failure_;
}

TEST_F(ClientServer, AHungProcessDelaysTheNodeOnlySoLong) {
    // Nobody serves r0; r1 does not exist.
    const NodeStatus node = ask_all(run_dir_, 50);
    EXPECT_TRUE(node.resources.empty());
    ASSERT_EQ(node.silent.size(), 1u);
    EXPECT_EQ(node.silent[0].name, "r0");
    EXPECT_FALSE(node.silent[0].dead);
    const NodeStatus answered = served([&] { return ask_all(run_dir_, 10000); });
    EXPECT_TRUE(answered.silent.empty());
    ASSERT_EQ(answered.resources.size(), 1u);
}

TEST_F(ClientServer, AFollowerSeesResourcesComeAndGo) {
    Follower follower(run_dir_, {});
    std::vector<std::string> complaints;
    EXPECT_EQ(follower.start(complaints), std::vector<std::string>{"r0"});
    serve();
    Result<Happening> happening = follower.next(1000);
    ASSERT_TRUE(happening.ok());
    ASSERT_EQ(happening->kind, Happening::Kind::event);
    EXPECT_EQ(happening->resource, "r0");
    EXPECT_EQ(follower.next(0)->kind, Happening::Kind::timeout);

    FakeService other;
    other.status_.name = "r1";
    Result<std::unique_ptr<Server>> second = Server::listen(*run_dir_.socket("r1"), other);
    ASSERT_TRUE(second.ok());
    EXPECT_EQ(follower.next(50)->kind, Happening::Kind::timeout);  // seen and asked, not yet answered
    while (poll_of(**second)) (*second)->serve();
    happening = follower.next(1000);
    ASSERT_EQ(happening->kind, Happening::Kind::event);
    EXPECT_EQ(std::get<StatusEvent>(*happening->event).status.name, "r1");

    second->reset();
    happening = follower.next(1000);
    EXPECT_EQ(happening->kind, Happening::Kind::gone);
    EXPECT_EQ(happening->resource, "r1");
}

TEST_F(ClientServer, TheNodeTellsDeadFromHung) {
    const Result<MinorClaim> claim = MinorClaim::take(run_dir_, 2, "r0");
    ASSERT_TRUE(claim.ok());
    std::ofstream(run_dir_.minor(5)) << "r7\n";
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    run_dir_.socket("r7")->copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    close(fd);
    EXPECT_EQ(proc_text_of(run_dir_, 50),
              "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: Duplex-0.1.0            \n"
              "\n 2: cs:Unknown (process of resource r0 does not answer)\n"
              "\n 5: cs:Unknown (process of resource r7 has died)\n");
}

}  // namespace
}  // namespace duplex::control
