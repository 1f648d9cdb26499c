// Where the processes of a node are found: $DUPLEX_RUN_DIR, by default /run/duplex.
//
//     RESOURCE.sock   its process listens here
//     minors/N        the resource that has minor N, locked by its process; what resync-after needs to know
//     proc/drbd       the text of /proc/drbd
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace duplex::control {

class RunDir {
  public:
    // From the environment.
    static RunDir of_node();
    explicit RunDir(std::string path) : path_(std::move(path)) {}

    // Makes it and what it holds, 0700.
    Status make() const;

    const std::string& path() const { return path_; }
    // An error if the path would be longer than a socket's may be.
    Result<std::string> socket(std::string_view resource) const;
    std::string minors() const { return path_ + "/minors"; }
    std::string minor(unsigned number) const;
    std::string proc() const { return path_ + "/proc"; }

    // All that have a socket, by name; whether their processes live is another question.
    std::vector<std::string> resources() const;

  private:
    std::string path_;
};

}  // namespace duplex::control
