#include "tools/drbdmeta/guard.hpp"
#include "tools/drbdsetup/actions.hpp"
#include "tools/drbdsetup/reach.hpp"
#include "tools/drbdsetup/registry.hpp"

namespace duplex::drbdsetup {
namespace {

// new-minor has no object that could stand before its messages (cli 20).
std::string_view object_of(const Invocation& invocation) {
    return invocation.command->name == "new-minor" ? std::string_view("??") : invocation.object;
}

}  // namespace

int send_request(const control::RunDir& run_dir, const Invocation& invocation) {
    // Against drbdmeta and other calls of ours on the same minor; a lock that lasts as long as this program
    // (cli 30.2).
    if (invocation.command->object == control::Object::minor) {
        const Status locked = drbdmeta::lock_minor(invocation.request.minor);
        if (!locked) return tell_no_answer(locked.error().text);
    }
    Reached reached = reach(run_dir, invocation);
    if (const auto* unreachable = std::get_if<Unreachable>(&reached))
        return tell(object_of(invocation), *unreachable);
    const Result<engine::Reply> reply = std::get<control::Client>(reached).execute(invocation.request);
    if (!reply) return tell_no_answer(reply.error().text);
    return tell(object_of(invocation), *reply);
}

int delete_minor(const control::RunDir& run_dir, const Invocation& invocation) {
    const int code = send_request(run_dir, invocation);
    if (code == 0) forget_minor(static_cast<unsigned>(invocation.request.minor));
    return code;
}

}  // namespace duplex::drbdsetup
