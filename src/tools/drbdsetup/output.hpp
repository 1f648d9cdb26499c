// stdout of a command that follows events: a reader that is slow for a while keeps nobody waiting, so that no
// event is lost on its account.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>

namespace duplex::drbdsetup {

class Output {
  public:
    explicit Output(int fd);
    // Writes what is left.
    ~Output();
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    // Returns at once unless the reader is pending_bytes_max behind. False: nobody reads any more.
    bool put(const std::string& text);

  private:
    static constexpr size_t pending_bytes_max = size_t{64} << 20;

    void write_on();

    int fd_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::string pending_;
    bool closing_ = false;
    bool broken_ = false;
    std::thread writer_;
};

}  // namespace duplex::drbdsetup
