// The first violation that a run meets.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>

namespace duplex::sim {

class Verdict {
  public:
    template <typename... Args>
    void fail(fmt::format_string<Args...> format, Args&&... args) {
        if (failed_) return;
        failed_ = true;
        text_ = fmt::format(format, std::forward<Args>(args)...);
    }
    bool failed() const { return failed_; }
    const std::string& text() const { return text_; }

  private:
    bool failed_ = false;
    std::string text_;
};

}  // namespace duplex::sim
