// Configuration files on the disk.
#pragma once

#include "config/loader.hpp"

namespace duplex::drbdadm {

class DiskLoader : public config::Loader {
  public:
    std::optional<config::SourceFile> load(std::string_view directory, std::string_view name) override;
    std::vector<std::string> expand(std::string_view directory, std::string_view pattern) override;

    // All of standard input; its includes are looked up in the working directory.
    static config::SourceFile load_stdin();
};

}  // namespace duplex::drbdadm
