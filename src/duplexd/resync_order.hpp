// resync-after between the processes of a node (states 12.6): each publishes what its minors do in the files
// by which it claims them, watches the others', and lets its own volumes wait for them.
#pragma once

#include <functional>
#include <map>

#include "control/minor_claim.hpp"
#include "control/run_dir.hpp"
#include "engine/resource.hpp"
#include "runtime/operation.hpp"

namespace duplex::duplexd {

class ResyncOrder {
  public:
    ResyncOrder(runtime::Loop& loop, const control::RunDir& run_dir)
        : run_dir_(run_dir), events_(loop, *this) {}
    ~ResyncOrder();

    Status open();
    // No more events; the loop has to run until the last one is over.
    void close() { events_.cancel(); }

    // A volume of ours may have changed.
    void changed() { stale_ = true; }
    // There is something to settle().
    bool stale() const { return stale_; }
    using FindClaim = std::function<const control::MinorClaim*(unsigned minor)>;
    // true: volumes were told to pause or go on, and the engine has to run.
    bool settle(engine::Resource& resource, const FindClaim& claim);

  private:
    void watch();
    void others_changed(int result);
    void publish(const engine::VolumeStatus& volume, const engine::ResyncAfter& entry,
                 const FindClaim& claim);

    const control::RunDir& run_dir_;
    runtime::On<&ResyncOrder::others_changed> events_;
    int fd_ = -1;
    bool stale_ = true;
    std::map<unsigned, engine::ResyncAfter> published_;
};

}  // namespace duplex::duplexd
