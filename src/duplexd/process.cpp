#include "duplexd/process.hpp"

#include <csignal>
#include <poll.h>
#include <utility>

#include "base/ensure.hpp"
#include "control/program_path.hpp"
#include "duplexd/fuse_module.hpp"
#include "duplexd/handlers.hpp"
#include "runtime/log.hpp"

namespace duplex::duplexd {

Result<std::unique_ptr<Process>> Process::start(std::string resource, const Settings& settings,
                                                const control::RunDir& run_dir) {
    Result<std::unique_ptr<runtime::Loop>> loop = runtime::Loop::create();
    if (!loop) return loop.error();
    std::unique_ptr<Process> process(new Process(std::move(resource), settings, run_dir, std::move(*loop)));
    if (Status opened = process->open(); !opened) return opened.error();
    return process;
}

Process::Process(std::string resource, const Settings& settings, const control::RunDir& run_dir,
                 std::unique_ptr<runtime::Loop> loop)
    : name_(std::move(resource)),
      settings_(settings),
      run_dir_(run_dir),
      drbdadm_(control::program_path("drbdadm")),
      loop_(std::move(loop)),
      network_(*loop_, name_),
      runtime_host_(*loop_, *this),
      host_(runtime_host_,
            [this](std::string_view helper, int minor, std::optional<int> wait_status) {
                if (server_) server_->helper_event(helper, minor, wait_status);
            }),
      tools_(*loop_, *this) {}

Status Process::open() {
    Result<std::unique_ptr<runtime::Signals>> signals =
        runtime::Signals::open(*loop_, {SIGTERM, SIGINT}, *this);
    if (!signals) return signals.error();
    signals_ = std::move(*signals);
    if (settings_.export_device) {
        Result<const exports::fuse::Module*> fuse = load_fuse_module();
        if (!fuse) return fuse.error();
        fuse_ = *fuse;
    }
    resource_ = std::make_unique<engine::Resource>(engine::Ports{*loop_, network_, host_}, name_,
                                                   config::ResourceOptions{}, engine::Limits{});
    if (Status registered = loop_->register_buffers(resource_->buffers()); !registered) {
        runtime::log_format(engine::LogLevel::debug, "duplex: {}", registered.error().text);
    }
    if (Status made = run_dir_.make(); !made) return made;
    Result<std::string> path = run_dir_.socket(name_);
    if (!path) return path.error();
    Result<std::unique_ptr<control::Server>> server = control::Server::listen(*path, *this);
    if (!server) return server.error();
    server_ = std::move(*server);
    resync_order_ = std::make_unique<ResyncOrder>(*loop_, run_dir_);
    if (Status watching = resync_order_->open(); !watching) return watching;
    loop_->add_hook(*this);
    wait_for_tools();
    return Ok{};
}

Process::~Process() {
    if (linked()) loop_->remove_hook(*this);
    server_.reset();
    tools_.cancel();
    if (resync_order_) resync_order_->close();
    if (signals_) signals_->close();
    runtime_host_.abandon_handlers();
    resource_.reset();
    network_.close_all();
    loop_->drain();
    dead_exports_.clear();
}

void Process::run() {
    loop_->run();
}

// Everything that the turn's completions made ready goes on here; the loop gathers what comes out of it.
void Process::turn() {
    dead_exports_.clear();
    do {
        resource_->run();
    } while (resync_order_->stale() && settle_resync_order());
    if (going_down_ && ended_) loop_->stop();
}

bool Process::settle_resync_order() {
    return resync_order_->settle(*resource_, [this](unsigned minor) -> const control::MinorClaim* {
        const auto found = minors_.find(minor);
        return found == minors_.end() ? nullptr : &found->second.claim;
    });
}

void Process::wait_for_tools() {
    tools_.poll(server_->fd(), POLLIN);
}

void Process::tools_are_there(int result) {
    if (ended_ || result == -ECANCELED) return;
    server_->serve();
    wait_for_tools();
}

engine::ResourceStatus Process::status() {
    return resource_->status();
}

void Process::changed(int) {
    if (server_ && resource_) server_->state_changed();
    if (resync_order_) resync_order_->changed();
}

runtime::HandlerCommand Process::handler(std::string_view name, int minor) {
    const engine::ConnectionStatus connection = resource_->status().connection;
    return handler_command(drbdadm_, name, minor, name_, connection.configured ? &connection.peer : nullptr);
}

// As far as an administrator's "down" would go: what is in use stays.
void Process::signalled(int signal_number) {
    runtime::log_format(engine::LogLevel::info, "drbd {}: got signal {}, going down", name_, signal_number);
    if (going_down_) return;
    down([this](const engine::Reply& reply) {
        if (reply.ok() || reply.code == engine::error_code::no_error) return;
        runtime::log_format(engine::LogLevel::error, "drbd {}: cannot go down: {} ({})", name_, reply.info,
                            reply.code);
    });
}

void Process::end() {
    server_->stop_listening();
    ended_ = true;
}

}  // namespace duplex::duplexd
