// A minor number belongs to one resource of the node. Its process holds a lock on $DUPLEX_RUN_DIR/minors/N
// for as long as the minor exists; the file names the resource, and in a second line says what the processes
// of other resources have to know of the minor (resync-after). The lock ends with the process, whatever way
// that ends, so a file without a lock says nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "control/run_dir.hpp"
#include "engine/resync_after.hpp"

namespace duplex::control {

inline constexpr unsigned minor_max = (1u << 20) - 1;

class MinorClaim {
  public:
    // Refused while another process holds it: the error names the resource.
    static Result<MinorClaim> take(const RunDir& run_dir, unsigned minor, std::string_view resource);

    MinorClaim(MinorClaim&& other) noexcept;
    MinorClaim& operator=(MinorClaim&& other) noexcept;
    ~MinorClaim();

    unsigned minor() const { return minor_; }
    // For published_by_minor(); whoever watches the directory is told by its change.
    Status publish(const engine::ResyncAfter& entry) const;

  private:
    MinorClaim(std::string path, int fd, unsigned minor, size_t resource_bytes)
        : path_(std::move(path)), fd_(fd), minor_(minor), resource_bytes_(resource_bytes) {}
    void give_up();

    std::string path_;
    int fd_ = -1;
    unsigned minor_ = 0;
    size_t resource_bytes_ = 0;  // of the first line
};

// The resource that has the minor, if its process lives.
std::optional<std::string> resource_of_minor(const RunDir& run_dir, unsigned minor);

// nullopt: nobody has the minor, or nothing was published.
std::optional<engine::ResyncAfter> published_by_minor(const RunDir& run_dir, unsigned minor);

// The minors that the resource's process holds.
std::vector<unsigned> minors_of(const RunDir& run_dir, std::string_view resource);
// The minors that it held when it died.
std::vector<unsigned> minors_left_by(const RunDir& run_dir, std::string_view resource);

}  // namespace duplex::control
