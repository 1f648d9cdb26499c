#include "base/ensure.hpp"

#include <cstdio>
#include <cstdlib>

namespace duplex {

void ensure_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: invariant does not hold: %s\n", file, line, condition);
    std::abort();
}

}  // namespace duplex
