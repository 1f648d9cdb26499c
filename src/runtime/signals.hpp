// Signals as events: blocked for the thread, read from a signalfd.
#pragma once

#include <initializer_list>
#include <memory>

#include "base/result.hpp"
#include "runtime/fd.hpp"
#include "runtime/operation.hpp"

namespace duplex::runtime {

class SignalEvents {
  public:
    virtual void signalled(int signal_number) = 0;

  protected:
    ~SignalEvents() = default;
};

class Signals {
  public:
    // Blocks these signals in the calling thread (before other threads are started) and reports them from the
    // loop. Programs started by the runtime get them unblocked.
    static Result<std::unique_ptr<Signals>> open(Loop& loop, std::initializer_list<int> signals,
                                                 SignalEvents& events);
    // Stops reporting. Destroy it only after close() and a drain() of the loop, or with the process.
    void close();

  private:
    Signals(Loop& loop, Fd fd, SignalEvents& events);
    void ready(int result);

    Fd fd_;
    SignalEvents* events_;
    bool closed_ = false;
    On<&Signals::ready> poll_;
};

}  // namespace duplex::runtime
