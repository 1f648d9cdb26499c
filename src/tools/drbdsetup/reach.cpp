#include "tools/drbdsetup/reach.hpp"

#include <cstdio>

#include <fmt/format.h>

#include "control/minor_claim.hpp"
#include "control/node.hpp"
#include "control/reply_text.hpp"
#include "control/typed_request.hpp"
#include "tools/drbdsetup/exit_code.hpp"

namespace duplex::drbdsetup {
namespace {

using control::Absence;

Unreachable no_minor() {
    return {Absence::none, {engine::error_code::minor_invalid, "unknown minor"}};
}

Reached reach_connection(const control::RunDir& run_dir, const control::Request& request) {
    const control::NodeStatus node = control::ask_all(run_dir, answer_timeout_ms);
    for (const engine::ResourceStatus& resource : node.resources) {
        if (control::names_connection(request, resource.connection))
            return reach_resource(run_dir, resource.name);
    }
    for (const control::SilentResource& resource : node.silent) {
        // It may be the one that has the connection.
        if (!resource.dead) return Unreachable{Absence::refused, {0, resource.why}};
    }
    return Unreachable{Absence::none, {control::error_code::invalid_request, "unknown connection"}};
}

}  // namespace

int tell(std::string_view object, const engine::Reply& reply) {
    fmt::print(stderr, "{}", control::message_of(object, reply));
    return control::exit_status_of(reply.code);
}

int tell_no_answer(std::string_view why) {
    fmt::print(stderr, "{}\n", why);
    return exit_usage;
}

int tell(std::string_view object, const Unreachable& unreachable) {
    return unreachable.exists() ? tell_no_answer(unreachable.reply.info) : tell(object, unreachable.reply);
}

Reached reach_resource(const control::RunDir& run_dir, std::string_view resource) {
    control::ConnectFailure failure;
    std::optional<control::Client> client = control::Client::connect(run_dir, resource, failure);
    if (client) return std::move(*client);
    const int code = control::error_code::invalid_resource;
    if (failure.absence == Absence::none) return Unreachable{Absence::none, {code, "unknown resource"}};
    return Unreachable{failure.absence, {code, failure.text}};
}

Reached reach(const control::RunDir& run_dir, const Invocation& invocation) {
    if (!invocation.resource.empty()) return reach_resource(run_dir, invocation.resource);
    if (invocation.request.minor < 0) return reach_connection(run_dir, invocation.request);
    const std::optional<std::string> resource =
        control::resource_of_minor(run_dir, static_cast<unsigned>(invocation.request.minor));
    if (!resource) return no_minor();
    return reach_resource(run_dir, *resource);
}

std::optional<engine::ResourceStatus> status_of(const control::RunDir& run_dir, const Invocation& invocation,
                                                int& code) {
    Reached reached = reach(run_dir, invocation);
    if (const auto* unreachable = std::get_if<Unreachable>(&reached)) {
        code = tell(invocation.object, *unreachable);
        return std::nullopt;
    }
    Result<engine::ResourceStatus> status = std::get<control::Client>(reached).status(answer_timeout_ms);
    if (!status) {
        code = tell_no_answer(status.error().text);
        return std::nullopt;
    }
    // The claim comes before the volume and goes after it.
    if (invocation.request.minor >= 0 && control::volume_of(*status, invocation.request.minor) == nullptr) {
        code = tell(invocation.object, no_minor());
        return std::nullopt;
    }
    return std::move(*status);
}

}  // namespace duplex::drbdsetup
