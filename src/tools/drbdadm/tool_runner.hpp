// Runs the lower tools: shows the call, executes it, limits its time, reports how it ended (cli 12).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "config/model.hpp"

namespace duplex::drbdadm {

enum class TimeLimit : uint8_t { short_time, medium_time, long_time, none };

struct ToolCall {
    std::vector<std::string> words;  // the program first, as it is shown
    TimeLimit limit = TimeLimit::short_time;
    std::string resource;  // for -n and the child's environment; may be empty
    bool drop_stderr = false;
    std::string* stdout_text = nullptr;  // captured instead of passed on
    std::string* stderr_text = nullptr;  // captured instead of passed on
    bool always = false;                 // executed in a dry run too, and never shown
    std::vector<std::pair<std::string, std::string>> environment;  // added
};

class ToolRunner {
  public:
    struct Settings {
        int dry_run = 0;
        int verbose = 0;
        std::string shell_variable;  // -n
        std::string own_path;        // argv[0]
        config::Global limits;
        bool drop_stderr = false;
    };

    void configure(Settings settings) { settings_ = std::move(settings); }

    // What the tools report is not for the reader of a progress display.
    void drop_stderr_of_tools(bool drop) { settings_.drop_stderr = drop; }

    // Shows and executes. The exit status of the tool; 20 if it could not be executed, was killed by a signal
    // or ran out of time. 0 in a dry run.
    int run(const ToolCall& call) const;

    // Whether that was because the tool's time was over.
    bool timed_out() const { return timed_out_; }

    // Shows the call as a dry run does, nothing else.
    void show(const ToolCall& call) const;

    // Starts a tool without waiting for it; its process id, or -1.
    int start(const ToolCall& call) const;

    // The file that is executed for a program's name: where drbdadm was called from, else along PATH, else
    // beside drbdadm. Empty if there is none.
    std::string find_program(const std::string& name) const;

  private:
    unsigned limit_s(TimeLimit limit) const;

    Settings settings_;
    mutable bool timed_out_ = false;
};

}  // namespace duplex::drbdadm
