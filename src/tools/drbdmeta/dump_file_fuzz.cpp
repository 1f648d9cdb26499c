// Any text: parsing a dump ends in a dump or in an error with words.
#include "base/ensure.hpp"
#include "tools/drbdmeta/dump_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto dump = duplex::drbdmeta::parse_dump({reinterpret_cast<const char*>(data), size});
    ensure(dump.ok() || !dump.error().text.empty());
    return 0;
}
