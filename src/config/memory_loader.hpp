// Configuration files held in memory, for tests: names are looked up as they are, patterns match by prefix.
#pragma once

#include <map>
#include <string>

#include "config/loader.hpp"

namespace duplex::config {

class MemoryLoader : public Loader {
  public:
    explicit MemoryLoader(std::map<std::string, std::string> files = {}) : files_(std::move(files)) {}

    std::optional<SourceFile> load(std::string_view /*directory*/, std::string_view name) override {
        const auto found = files_.find(std::string(name));
        if (found == files_.end()) return std::nullopt;
        return source(found->second, found->first);
    }

    std::vector<std::string> expand(std::string_view /*directory*/, std::string_view pattern) override {
        const std::string_view prefix = pattern.substr(0, pattern.find('*'));
        std::vector<std::string> names;
        for (const auto& [name, text] : files_) {
            if (name.starts_with(prefix)) names.push_back(name);
        }
        return names;
    }

    static SourceFile source(std::string_view text, std::string_view name) {
        SourceFile file;
        file.text = text;
        file.absolute_path = "/etc/" + std::string(name);
        file.directory = "/etc";
        file.identity = file.absolute_path;
        return file;
    }

  private:
    std::map<std::string, std::string> files_;
};

}  // namespace duplex::config
