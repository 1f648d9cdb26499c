// duplex-sim: runs seeds of the simulation.
//
//     duplex-sim --seed N [--verbose]       one seed; the same seed gives the same run, and the same digest
//     duplex-sim --seeds COUNT [--from N]   seeds N ... N + COUNT - 1
//     duplex-sim --seeds A..B               seeds A ... B
//     duplex-sim --hours H                  new seeds, from a random one on, until the time is over
//     --jobs J                                   in J processes
//     --until-failure                            ends at the first failing seed
//     --expect-failure                           the same, and success is that a check failed (not a crash)
#include <algorithm>
#include <charconv>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <malloc.h>
#include <map>
#include <optional>
#include <poll.h>
#include <random>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "sim/simulation.hpp"

namespace {

using duplex::sim::Scenario;
using duplex::sim::Simulation;

struct Arguments {
    uint64_t first = 1;
    uint64_t count = 0;
    bool single = false;
    bool verbose = false;
    bool until_failure = false;
    bool expect_failure = false;
    unsigned jobs = 1;
    double hours = 0;
    std::optional<uint64_t> traced_sector;
    unsigned traced_volume = 0;
};

Simulation* running = nullptr;

// An ensure() of the engine has failed, or worse: show what led to it.
extern "C" void show_journal(int signal) {
    if (running) {
        fmt::print("{}\n", running->scenario().describe());
        running->journal().print(stdout);
        std::fflush(stdout);
    }
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

int run_one(const Arguments& arguments) {
    Simulation simulation(arguments.first);
    simulation.journal().verbose = arguments.verbose;
    simulation.journal().traced_sector = arguments.traced_sector;
    simulation.journal().traced_volume = arguments.traced_volume;
    running = &simulation;
    std::signal(SIGABRT, show_journal);
    const bool passed = simulation.run();
    running = nullptr;
    if (!passed && !arguments.verbose) simulation.journal().print(stdout);
    if (!passed) fmt::print("FAILED: {}\n", simulation.failure());
    uint64_t writes = 0, reads = 0, resyncs = 0, divergence_checks = 0;
    for (const duplex::sim::VolumeSet& volume : simulation.volumes()) {
        writes += volume.oracle.writes_completed();
        reads += volume.oracle.reads_checked();
        resyncs += volume.checker.resyncs();
        divergence_checks += volume.checker.divergence_checks();
    }
    fmt::print(
        "seed {}: {}, digest {:016x}, {} events, {}.{:03} s, {} writes, {} sectors read, {} resyncs, {} "
        "divergence checks\n",
        arguments.first, passed ? "passed" : "failed", simulation.digest(), simulation.events(),
        simulation.virtual_us() / 1'000'000, simulation.virtual_us() / 1000 % 1000, writes, reads, resyncs,
        divergence_checks);
    return passed ? 0 : 1;
}

// ---- many seeds
// -----------------------------------------------------------------------------------------------------

// A process that takes seeds in steps and says of each what came of it; when it dies the seed that it was at
// has failed, and another one goes on after it.
class Runner {
  public:
    Runner(uint64_t next, uint64_t end, uint64_t step) : next_(next), end_(end), step_(step) { start(); }

    int fd() const { return fd_; }
    bool finished() const { return fd_ < 0; }
    // Reads what is there; calls report(seed, passed, text, died) for every seed that ended.
    template <typename Report>
    void read_some(Report report) {
        char buffer[4096];
        const ssize_t got = ::read(fd_, buffer, sizeof buffer);
        if (got > 0) {
            text_.append(buffer, static_cast<size_t>(got));
            for (size_t line = text_.find('\n'); line != std::string::npos; line = text_.find('\n')) {
                report_line(std::string_view(text_).substr(0, line), report);
                text_.erase(0, line + 1);
            }
            return;
        }
        int status = 0;
        ::waitpid(pid_, &status, 0);
        ::close(fd_);
        fd_ = -1;
        if (next_ >= end_) return;
        report(next_, false,
               WIFSIGNALED(status) ? fmt::format("the process was killed by signal {}", WTERMSIG(status))
                                   : fmt::format("the process ended with {}", WEXITSTATUS(status)),
               true);
        next_ += step_;
        if (next_ < end_) start();
    }
    void kill() {
        if (fd_ >= 0) ::kill(pid_, SIGKILL);
        next_ = end_;
    }

  private:
    void start() {
        int ends[2];
        if (::pipe(ends) != 0) std::abort();
        std::fflush(stdout);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(ends[0]);
            std::FILE* const out = ::fdopen(ends[1], "w");
            for (uint64_t seed = next_; seed < end_; seed += step_) {
                Simulation simulation(seed);
                const bool passed = simulation.run();
                fmt::print(out, "{} {} {}\n", seed, passed ? 'p' : 'f', simulation.failure());
                std::fflush(out);
            }
            std::_Exit(0);
        }
        ::close(ends[1]);
        fd_ = ends[0];
    }
    template <typename Report>
    void report_line(std::string_view line, Report report) {
        uint64_t seed = 0;
        const auto parsed = std::from_chars(line.data(), line.data() + line.size(), seed);
        const auto at = static_cast<size_t>(parsed.ptr - line.data());
        next_ = seed + step_;
        report(seed, line[at + 1] == 'p', std::string(line.substr(at + 3)), false);
    }

    uint64_t next_;
    uint64_t end_;
    uint64_t step_;
    pid_t pid_ = -1;
    int fd_ = -1;
    std::string text_;
};

int run_many(const Arguments& arguments, const char* program) {
    std::vector<Runner> runners;
    const uint64_t end = arguments.first + arguments.count;
    for (unsigned job = 0; job < arguments.jobs; ++job)
        runners.emplace_back(arguments.first + job, end, arguments.jobs);
    std::map<uint64_t, std::string> failures;
    uint64_t passed = 0;
    bool crashed = false;
    const auto begun = std::chrono::steady_clock::now();
    const auto time_is_over = [&] {
        return arguments.hours > 0 && std::chrono::steady_clock::now() - begun >
                                          std::chrono::duration<double>(arguments.hours * 3600);
    };
    const bool terminal = ::isatty(STDOUT_FILENO);
    const auto report = [&](uint64_t seed, bool ok, std::string text, bool died) {
        crashed |= died;
        if (ok)
            ++passed;
        else
            failures.emplace(seed, std::move(text));
        if (!ok && arguments.hours > 0) {
            fmt::print("{} --seed {}    # {}\n", program, seed, failures[seed]);
            std::fflush(stdout);
        }
        const uint64_t done = passed + failures.size();
        if (terminal && done % 10 == 0) {
            fmt::print("\r{} of {}, {} failed", done, arguments.count, failures.size());
            std::fflush(stdout);
        }
        if (!ok && arguments.until_failure)
            for (Runner& runner : runners) runner.kill();
    };
    for (;;) {
        std::vector<pollfd> fds;
        std::vector<Runner*> waiting;
        for (Runner& runner : runners)
            if (!runner.finished()) {
                fds.push_back({runner.fd(), POLLIN, 0});
                waiting.push_back(&runner);
            }
        if (fds.empty()) break;
        if (time_is_over())
            for (Runner& runner : runners) runner.kill();
        if (::poll(fds.data(), fds.size(), 1000) < 0) continue;
        for (size_t i = 0; i < fds.size(); ++i)
            if (fds[i].revents) waiting[i]->read_some(report);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (terminal) fmt::print("\r");
    for (const auto& [seed, text] : failures) fmt::print("{} --seed {}    # {}\n", program, seed, text);
    fmt::print("{} passed, {} failed, {:.1f} seeds/s\n", passed, failures.size(),
               static_cast<double>(passed + failures.size()) / seconds);
    if (arguments.expect_failure) {
        const bool noticed = !failures.empty() && !crashed;
        fmt::print("{}\n", noticed   ? "as expected, a check failed"
                           : crashed ? "a crash is not what was expected"
                                     : "a check was expected to fail, and none did");
        return noticed ? 0 : 1;
    }
    return failures.empty() ? 0 : 1;
}

// ---- arguments
// ------------------------------------------------------------------------------------------------------

std::optional<uint64_t> number(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool parse_range(std::string_view text, Arguments& arguments) {
    const size_t dots = text.find("..");
    if (dots == std::string_view::npos) {
        const auto count = number(text);
        arguments.count = count.value_or(0);
        return count.has_value();
    }
    const auto first = number(text.substr(0, dots));
    const auto last = number(text.substr(dots + 2));
    if (!first || !last || *last < *first) return false;
    arguments.first = *first;
    arguments.count = *last - *first + 1;
    return true;
}

bool parse_hours(const char* text, Arguments& arguments) {
    char* end = nullptr;
    arguments.hours = std::strtod(text, &end);
    if (end == text || *end != '\0' || !(arguments.hours > 0)) return false;
    std::random_device entropy;
    arguments.first = Scenario::first_seed_with_volumes + (uint64_t{entropy()} << 8);
    arguments.count = uint64_t{1} << 40;
    return true;
}

std::optional<Arguments> parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--verbose") {
            arguments.verbose = true;
            continue;
        }
        if (name == "--until-failure" || name == "--expect-failure") {
            arguments.until_failure = true;
            arguments.expect_failure = name == "--expect-failure";
            continue;
        }
        if (++i == argc) return std::nullopt;
        const std::optional<uint64_t> value = number(argv[i]);
        if (name == "--seeds") {
            if (!parse_range(argv[i], arguments)) return std::nullopt;
        } else if (name == "--hours") {
            if (!parse_hours(argv[i], arguments)) return std::nullopt;
        } else if (name == "--seed" && value) {
            arguments.single = true;
            arguments.first = *value;
        } else if (name == "--trace" && value) {
            arguments.traced_sector = *value;
        } else if (name == "--volume" && value) {
            arguments.traced_volume = static_cast<unsigned>(*value);
        } else if (name == "--from" && value) {
            arguments.first = *value;
        } else if (name == "--jobs" && value && *value > 0) {
            arguments.jobs = static_cast<unsigned>(*value);
        } else {
            return std::nullopt;
        }
    }
    if (!arguments.single && arguments.count == 0) return std::nullopt;
    return arguments;
}

}  // namespace

int main(int argc, char** argv) {
    const std::optional<Arguments> arguments = parse(argc, argv);
    if (!arguments) {
        fmt::print(stderr,
                   "usage: duplex-sim --seed N [--verbose] [--trace SECTOR [--volume V]]\n"
                   "       duplex-sim --hours H [--jobs J]\n"
                   "       duplex-sim --seeds COUNT|A..B [--from N] [--jobs J] [--until-failure | "
                   "--expect-failure]\n");
        return 2;
    }
    // A run starts and drops processes by the dozen; their memory stays with this one, or half the time goes
    // to page faults.
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    return arguments->single ? run_one(*arguments) : run_many(*arguments, argv[0]);
}
