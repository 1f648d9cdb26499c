// A program started by the process: /bin/sh -c COMMAND, with exactly the environment given, stdin from
// /dev/null, stdout and stderr the process's own. Its end is noticed through a pidfd.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/list.hpp"
#include "base/result.hpp"
#include "runtime/fd.hpp"
#include "runtime/operation.hpp"

namespace duplex::runtime {

struct HandlerCommand {
    std::string command;                   // empty: none
    std::vector<std::string> environment;  // "NAME=value"
};

class Handler final : public ListNode<Handler> {
  public:
    using Done = std::function<void(int exit_code)>;

    // Starts the command; `done` gets its exit code (128 + n if signal n ended it) from the loop, after which
    // the handler takes itself off `running` and is destroyed.
    static Status start(Loop& loop, List<Handler, Handler>& running, const HandlerCommand& command,
                        Done done);
    // Done is not called any more; the program runs on.
    void abandon();

  private:
    Handler(Loop& loop, List<Handler, Handler>& running, Fd pidfd, Done done);
    ~Handler() = default;
    void ended(int result);

    List<Handler, Handler>* running_;
    Fd pidfd_;
    Done done_;
    On<&Handler::ended> wait_;
};

}  // namespace duplex::runtime
