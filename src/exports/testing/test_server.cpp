// A volume in memory behind the NBD server and the FUSE export, driven by lines on stdin; each is answered by
// one line on stdout. For tests that bring real clients; not installed.
//
//   exports-test-server DIRECTORY MINOR SIZE_BYTES [key=value ...]
//     keys: fuse (0|1), nbd (0|1), delay_ms, requests, arena_mib, seed, device
//   commands: primary, secondary, size BYTES, discard 0|1, zero 0|1, error NUMBER, hold 0|1, settled, check,
//   openers, counters, stop
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "exports/fuse/export.hpp"
#include "exports/fuse/loop_helper.hpp"
#include "exports/nbd/server.hpp"
#include "exports/testing/fake_volume.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports {

namespace {

uint64_t number_of(std::string_view text) {
    uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size()) {
        fmt::print(stderr, "'{}' is not a number\n", text);
        std::exit(2);
    }
    return value;
}

struct Settings {
    std::string directory;
    std::string device;
    bool fuse = true;
    bool nbd = true;
    FakeSettings volume;
};

Settings settings_from(int argc, char** argv) {
    Settings settings;
    settings.directory = argv[1];
    settings.volume.minor = static_cast<unsigned>(number_of(argv[2]));
    settings.volume.size_sectors = number_of(argv[3]) / sector_bytes;
    settings.volume.size_sectors_max = uint64_t{1} << 33;  // of address space
    settings.device = fmt::format("/dev/drbd{}", settings.volume.minor);
    for (int i = 4; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const size_t equals = argument.find('=');
        const std::string_view key = argument.substr(0, equals), value = argument.substr(equals + 1);
        if (key == "device")
            settings.device = value;
        else if (key == "fuse")
            settings.fuse = number_of(value) != 0;
        else if (key == "nbd")
            settings.nbd = number_of(value) != 0;
        else if (key == "delay_ms")
            settings.volume.delay_ms_max = number_of(value);
        else if (key == "requests")
            settings.volume.requests = static_cast<unsigned>(number_of(value));
        else if (key == "arena_mib")
            settings.volume.arena_bytes = number_of(value) << 20;
        else if (key == "seed")
            settings.volume.seed = number_of(value);
        else
            std::exit(2);
    }
    return settings;
}

void say(std::string_view line) {
    std::cout << line << std::endl;
}

class TestServer {
  public:
    TestServer(runtime::Loop& loop, const Settings& settings)
        : loop_(loop),
          settings_(settings),
          volume_(loop, settings.volume),
          nbd_(loop, volume_, "r0", &TestServer::log),
          fuse_(loop, volume_, &TestServer::log) {}

    Status start() {
        if (settings_.nbd) {
            if (Status started = nbd_.start(settings_.directory + "/nbd/r0-0.sock"); !started) return started;
        }
        if (settings_.fuse) {
            const std::string file =
                fmt::format("{}/fuse/drbd{}", settings_.directory, settings_.volume.minor);
            if (Status started = fuse_.start(file, settings_.device); !started) return started;
        }
        read_more();
        return Ok{};
    }

  private:
    static void log(engine::LogLevel, std::string_view line) { std::cerr << line << std::endl; }

    void read_more() { input_.read(0, {reinterpret_cast<uint8_t*>(buffer_), sizeof buffer_}); }

    void input(int result) {
        if (result <= 0) {
            obey("stop");
            return;
        }
        pending_.append(buffer_, static_cast<size_t>(result));
        for (size_t end = pending_.find('\n'); end != std::string::npos && !stopping_;
             end = pending_.find('\n')) {
            const std::string line = pending_.substr(0, end);
            pending_.erase(0, end + 1);
            obey(line);
        }
        if (!stopping_) read_more();
    }

    void obey(std::string_view line) {
        const size_t space = line.find(' ');
        const std::string_view word = line.substr(0, space);
        const uint64_t value = space == std::string_view::npos ? 0 : number_of(line.substr(space + 1));
        if (word == "settled") {
            fuse_.when_settled(
                [](const Status& status) { say(status ? "ok" : "failed " + status.error().text); });
        } else if (word == "check") {
            fuse_.check_unused([](const std::string& who) { say(who.empty() ? "unused" : "used " + who); });
        } else if (word == "openers") {
            say(fmt::format("{}", fmt::join(volume_.openers(), "; ")));
        } else if (word == "counters") {
            const FakeCounters& c = volume_.counters();
            say(fmt::format(
                R"({{"reads": {}, "writes": {}, "flushes": {}, "discards": {}, "write_zeroes": {}, "fua": {}, "no_room": {}, "out": {}}})",
                c.reads, c.writes, c.flushes, c.discards, c.write_zeroes, c.fua, c.refused_for_room,
                volume_.requests_out()));
        } else if (word == "stop") {
            stop();
        } else {
            change(word, value);
            say("ok");
        }
    }

    void change(std::string_view word, uint64_t value) {
        if (word == "primary")
            volume_.set_primary(true);
        else if (word == "secondary")
            volume_.set_primary(false);
        else if (word == "size")
            volume_.set_size(value / sector_bytes);
        else if (word == "discard")
            volume_.set_can_discard(value != 0);
        else if (word == "zero")
            volume_.set_can_zero(value != 0);
        else if (word == "error")
            volume_.set_error(static_cast<int>(value));
        else if (word == "hold")
            volume_.set_held(value != 0);
        else
            std::exit(2);
    }

    void stop() {
        stopping_ = true;
        volume_.set_held(false);
        nbd_.stop([this] {
            fuse_.stop([this] {
                say("stopped");
                loop_.stop();
            });
        });
    }

    runtime::Loop& loop_;
    Settings settings_;
    FakeVolume volume_;
    nbd::Server nbd_;
    fuse::Export fuse_;
    bool stopping_ = false;
    std::string pending_;
    char buffer_[4096];
    runtime::On<&TestServer::input> input_{loop_, *this};
};

int run(int argc, char** argv) {
    auto loop = runtime::Loop::create();
    if (!loop) {
        fmt::print(stderr, "{}\n", loop.error().text);
        return 1;
    }
    {
        TestServer server(**loop, settings_from(argc, argv));
        if (Status started = server.start(); !started) {
            fmt::print(stderr, "{}\n", started.error().text);
            std::_Exit(1);  // a test that could not begin; nothing is torn down in order
        }
        say("ready");
        (*loop)->run();
        (*loop)->drain();
    }
    return 0;
}

}  // namespace

}  // namespace duplex::exports

int main(int argc, char** argv) {
    using namespace duplex::exports;
    if (fuse::is_loop_helper(argc, argv)) return fuse::loop_helper_main(argc, argv);
    if (argc < 4) return 2;
    return run(argc, argv);
}
