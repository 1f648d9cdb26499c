// The process of one resource: engine, runtime, exports and control bound together. What an administrator's
// commands do to minors and to the resource as a whole is decided here; all else is the engine's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/message.hpp"
#include "control/minor_claim.hpp"
#include "control/run_dir.hpp"
#include "control/server.hpp"
#include "duplexd/reporting_host.hpp"
#include "duplexd/resync_order.hpp"
#include "duplexd/self.hpp"
#include "duplexd/settings.hpp"
#include "duplexd/volume_exports.hpp"
#include "engine/resource.hpp"
#include "runtime/host.hpp"
#include "runtime/loop.hpp"
#include "runtime/network.hpp"
#include "runtime/operation.hpp"
#include "runtime/signals.hpp"

namespace duplex::duplexd {

class Process final : public control::Service,
                      public runtime::HostEvents,
                      public runtime::SignalEvents,
                      public runtime::TurnHook {
  public:
    // When it returns, tools can connect. Error: another process serves the resource, no io_uring, no memory.
    static Result<std::unique_ptr<Process>> start(std::string resource, const Settings& settings,
                                                  const control::RunDir& run_dir);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    // Until the resource is deleted (down, del-resource, SIGTERM).
    void run();

    // control::Service
    void execute(const control::Request& request, engine::Done done) override;
    engine::ResourceStatus status() override;

    // runtime
    void changed(int volume) override;
    runtime::HandlerCommand handler(std::string_view name, int minor) override;
    void signalled(int signal_number) override;
    void turn() override;

  private:
    using Done = engine::Done;
    using Step = std::function<void(Done)>;

    // A minor: its claim, its volume in the engine, its exports.
    struct Minor {
        control::MinorClaim claim;
        unsigned volume = 0;
        std::unique_ptr<VolumeExports> exports;
    };

    Process(std::string resource, const Settings& settings, const control::RunDir& run_dir,
            std::unique_ptr<runtime::Loop> loop);
    Status open();
    bool settle_resync_order();
    void wait_for_tools();
    void tools_are_there(int result);

    bool execute_here(const control::Request& request, const Done& done);
    void change_options(const control::Request& request, const Done& done);
    void new_minor(const control::Request& request, const Done& done);
    void make_minor(unsigned minor, unsigned volume, const Done& done);
    void delete_minor(unsigned minor, const Done& done);
    void secondary(unsigned minor, const control::Request& request, const Done& done);
    void down(const Done& done);
    void delete_resource(const Done& done);
    std::vector<Step> steps_of_down();
    static void run_steps(std::vector<Step> steps, Done done);
    void remove_minor(unsigned minor, const Done& done);
    void reply_when_settled(unsigned minor, const engine::Reply& reply, const Done& done);
    void end();

    const std::string name_;
    const Settings settings_;
    const control::RunDir run_dir_;
    const std::string drbdadm_;
    Cpus cpus_;
    const exports::fuse::Module* fuse_ = nullptr;  // nullptr: no block devices

    std::unique_ptr<runtime::Loop> loop_;
    std::unique_ptr<runtime::Signals> signals_;
    runtime::Network network_;
    runtime::Host runtime_host_;
    ReportingHost host_;
    std::unique_ptr<engine::Resource> resource_;
    std::map<unsigned, Minor> minors_;  // by minor number
    // Exports that have stopped, from inside their own calls; destroyed at the next turn.
    std::vector<std::unique_ptr<VolumeExports>> dead_exports_;
    std::unique_ptr<control::Server> server_;
    std::unique_ptr<ResyncOrder> resync_order_;
    runtime::On<&Process::tools_are_there> tools_;
    bool going_down_ = false;
    bool ended_ = false;
};

}  // namespace duplex::duplexd
