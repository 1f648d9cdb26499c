// What a simulated machine's loop does after every batch of completions.
#pragma once

namespace duplex::sim {

class Turn {
  public:
    // Something was completed: Resource::run() is due.
    virtual void turn() = 0;

  protected:
    ~Turn() = default;
};

}  // namespace duplex::sim
