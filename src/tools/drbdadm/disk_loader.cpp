#include "tools/drbdadm/disk_loader.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <glob.h>
#include <iterator>
#include <sstream>
#include <system_error>

namespace duplex::drbdadm {
namespace {

namespace fs = std::filesystem;

fs::path place(std::string_view directory, std::string_view name) {
    return fs::path(directory) / fs::path(name);
}

}  // namespace

std::optional<config::SourceFile> DiskLoader::load(std::string_view directory, std::string_view name) {
    const fs::path path = place(directory, name);
    std::ifstream stream(path, std::ios::binary);
    if (!stream) return std::nullopt;
    std::error_code problem;
    config::SourceFile file;
    const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
    const fs::path resolved = fs::canonical(parent, problem);
    file.directory = resolved.string();
    file.absolute_path = (resolved / path.filename()).string();
    file.identity = fs::canonical(path, problem).string();
    if (fs::is_directory(path, problem)) {
        file.unreadable = true;
        return file;
    }
    std::ostringstream text;
    text << stream.rdbuf();
    file.text = text.str();
    file.unreadable = stream.bad();
    return file;
}

std::vector<std::string> DiskLoader::expand(std::string_view directory, std::string_view pattern) {
    const bool absolute = pattern.starts_with('/');
    const std::string full = absolute ? std::string(pattern) : place(directory, pattern).string();
    // What matches is named as the pattern names it.
    const std::size_t cut = absolute ? 0 : full.size() - pattern.size();
    std::vector<std::string> names;
    glob_t found{};
    if (glob(full.c_str(), 0, nullptr, &found) == 0) {
        for (std::size_t i = 0; i < found.gl_pathc; ++i) names.emplace_back(found.gl_pathv[i] + cut);
    }
    globfree(&found);
    return names;
}

config::SourceFile DiskLoader::load_stdin() {
    config::SourceFile file;
    char buffer[4096];
    for (std::size_t count = 0; (count = std::fread(buffer, 1, sizeof(buffer), stdin)) > 0;) {
        file.text.append(buffer, count);
    }
    file.absolute_path = "STDIN";
    file.identity = "STDIN";
    file.directory = fs::current_path().string();
    return file;
}

}  // namespace duplex::drbdadm
