// How the parser reaches files: the tools read the disk, tests read memory.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace duplex::config {

struct SourceFile {
    std::string text;
    std::string absolute_path;  // its name under the resolved directory; "STDIN" for standard input
    std::string directory;      // where its includes are looked up
    std::string identity;       // equal for two names of one file
    bool unreadable = false;    // it exists but cannot be read, for example a directory
};

class Loader {
  public:
    Loader() = default;
    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;
    virtual ~Loader() = default;

    // The file called name, relative to directory; nothing if it does not exist.
    virtual std::optional<SourceFile> load(std::string_view directory, std::string_view name) = 0;

    // The names that match a wildcard pattern, relative to directory, sorted.
    virtual std::vector<std::string> expand(std::string_view directory, std::string_view pattern) = 0;
};

}  // namespace duplex::config
