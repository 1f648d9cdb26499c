#include <unistd.h>
#include <vector>

#include "control/minor_claim.hpp"
#include "tools/drbdsetup/actions.hpp"
#include "tools/drbdsetup/exit_code.hpp"
#include "tools/drbdsetup/process_end.hpp"
#include "tools/drbdsetup/reach.hpp"
#include "tools/drbdsetup/registry.hpp"
#include "tools/drbdsetup/start_process.hpp"

namespace duplex::drbdsetup {
namespace {

// A command after which the process ends.
int finish(const control::RunDir& run_dir, control::Client& client, const Invocation& invocation) {
    const Result<ProcessEnd> end = ProcessEnd::of(client);
    if (!end) return tell_no_answer(end.error().text);
    const std::vector<unsigned> minors = control::minors_of(run_dir, invocation.resource);
    const Result<engine::Reply> reply = client.execute(invocation.request);
    if (!reply) return tell_no_answer(reply.error().text);
    const int code = tell(invocation.object, *reply);
    if (code != exit_ok) return code;
    end->wait();
    for (const unsigned minor : minors) forget_minor(minor);
    forget_resource(invocation.resource);
    return exit_ok;
}

}  // namespace

// Harmless for a resource that exists: it only gets the options (cli 19).
int new_resource(const control::RunDir& run_dir, const Invocation& invocation) {
    Reached reached = reach(run_dir, invocation);
    bool is_new = false;
    if (const auto* unreachable = std::get_if<Unreachable>(&reached)) {
        if (unreachable->exists()) return tell(invocation.object, *unreachable);
        const Status started = start_process(duplexd_path(), invocation.resource);
        if (!started) return tell_no_answer(started.error().text);
        is_new = true;
        reached = reach(run_dir, invocation);
    }
    if (const auto* unreachable = std::get_if<Unreachable>(&reached))
        return tell(invocation.object, *unreachable);
    auto& client = std::get<control::Client>(reached);
    const Result<engine::Reply> reply = client.execute(invocation.request);
    const int code = reply ? tell(invocation.object, *reply) : tell_no_answer(reply.error().text);
    if (code == exit_ok || !is_new) return code;
    // Refused options leave no resource behind.
    Invocation removal = invocation;
    removal.request = {"del-resource", -1, {}, {}};
    finish(run_dir, client, removal);
    return code;
}

int delete_resource(const control::RunDir& run_dir, const Invocation& invocation) {
    Reached reached = reach(run_dir, invocation);
    if (const auto* unreachable = std::get_if<Unreachable>(&reached))
        return tell(invocation.object, *unreachable);
    return finish(run_dir, std::get<control::Client>(reached), invocation);
}

// A resource that is not there is down (cli 19).
int down(const control::RunDir& run_dir, const Invocation& invocation) {
    Reached reached = reach(run_dir, invocation);
    if (const auto* unreachable = std::get_if<Unreachable>(&reached)) {
        if (unreachable->exists()) return tell(invocation.object, *unreachable);
        if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "Resource unknown\n");
        return exit_ok;
    }
    return finish(run_dir, std::get<control::Client>(reached), invocation);
}

}  // namespace duplex::drbdsetup
