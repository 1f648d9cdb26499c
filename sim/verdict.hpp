// The first violation that a run meets. A volume has one of its own, which says which volume it is, and
// counts for the run.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>

namespace duplex::sim {

class Verdict {
  public:
    Verdict() = default;
    Verdict(Verdict& run, std::string of) : run_(&run), of_(std::move(of)) {}

    template <typename... Args>
    void fail(fmt::format_string<Args...> format, Args&&... args) {
        if (failed()) return;
        const std::string text = fmt::format(format, std::forward<Args>(args)...) + of_;
        if (run_) return run_->fail("{}", text);
        failed_ = true;
        text_ = text;
    }
    bool failed() const { return run_ ? run_->failed() : failed_; }
    const std::string& text() const { return run_ ? run_->text() : text_; }

  private:
    Verdict* run_ = nullptr;
    std::string of_;
    bool failed_ = false;
    std::string text_;
};

}  // namespace duplex::sim
