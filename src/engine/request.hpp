// Block requests as the exports hand them to a volume. The engine owns the request objects (a fixed pool per
// resource) and their data buffers (the resource's BufferPool): an export takes one, fills in or lets the
// engine fill in the data, and gives it back after completion.
//
//     Request* r = volume.take_request(Op::write, sector, size_bytes);   // nullptr: wait for User::room()
//     ... the export receives the client's data into r->data ...
//     volume.submit(*r);
//     -> User::completed(*r): r->error says how it ended; a read's data is in r->data
//     volume.release(*r);                                                 // r is the engine's again
#pragma once

#include <cstdint>

#include "base/list.hpp"
#include "base/units.hpp"

namespace duplex::engine {

enum class Op : uint8_t { read, write, flush, discard, write_zeroes };

inline constexpr uint32_t request_bytes_max = 1u << 20;            // read, write
inline constexpr uint32_t discard_request_bytes_max = 128u << 20;  // discard, write_zeroes

struct Request;

// An export's view of a volume's client side.
class User {
  public:
    virtual void completed(Request& request) = 0;
    // After take_request() returned nullptr: there may be room again.
    virtual void room() = 0;

  protected:
    ~User() = default;
};

// What an export sees of a request.
struct Request {
    Op op = Op::read;
    bool fua = false;        // write, discard, write_zeroes: stable on both nodes' disks when completed
    bool may_unmap = false;  // write_zeroes: the range may be deallocated
    Sector sector;
    uint32_t size_bytes = 0;  // a multiple of 512; 0 for flush
    uint8_t* data = nullptr;  // read, write: size_bytes, page aligned
    int error = 0;            // 0 or an errno value, valid in completed()

    User* user = nullptr;
    uint64_t user_tag = 0;      // the export's own
    void* user_data = nullptr;  // the export's own

  protected:
    Request() = default;
    ~Request() = default;
};

}  // namespace duplex::engine
