// A configuration as text again: dump and dump-xml (cli 14).
#pragma once

#include <string>
#include <string_view>

#include "config/model.hpp"

namespace duplex::config {

// The comment line with the file's name, and the global section if there is something to say in it or always.
std::string dump_head(const Config& config, bool always);

// The common section with the empty line after it; nothing without one.
std::string dump_common(const Config& config);

// The two comment lines, the resource, and the empty line after it.
std::string dump_resource(const Resource& resource, std::string_view node_name);

// The whole file.
std::string dump_xml(const Config& config);

// One <resource> element at column 0.
std::string dump_xml_resource(const Resource& resource);

}  // namespace duplex::config
