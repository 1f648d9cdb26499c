// The commands that change something: found, sent, and what is to be cleaned up after them.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "config/model.hpp"
#include "config/report.hpp"
#include "control/device_lock.hpp"
#include "control/endpoint.hpp"
#include "control/minor_claim.hpp"
#include "control/node.hpp"
#include "control/reply_text.hpp"
#include "control/typed_request.hpp"
#include "tools/drbdsetup/address.hpp"
#include "tools/drbdsetup/process_end.hpp"
#include "tools/drbdsetup/registry.hpp"
#include "tools/drbdsetup/start.hpp"
#include "tools/drbdsetup/tool.hpp"

namespace duplex::drbdsetup {
namespace {

using control::Absence;
using control::Client;
using control::ConnectFailure;
using control::DeviceLock;
using control::Object;
using control::Request;
using control::RunDir;
using engine::Reply;

Request request_of(const CommandLine& line, size_t object_words) {
    Request request;
    request.command = line.command->name;
    request.options = line.options;
    request.arguments.assign(line.words.begin() + static_cast<long>(object_words), line.words.end());
    return request;
}

int send(Client& client, const std::string& object, const Request& request) {
    const Result<Reply> reply = client.execute(request);
    if (!reply) return report_trouble(reply.error().text);
    return report(object, *reply);
}

Status resolve_endpoints(Request& request) {
    for (std::string& text : request.arguments) {
        Result<std::string> numeric = normalized_address(text);
        if (!numeric) return numeric.error();
        text = *numeric;
    }
    return Ok{};
}

// The process runs elsewhere: it must be given absolute names of devices that are there.
Status check_devices(Request& request) {
    for (size_t i = 0; i < 2; ++i) {
        std::string& path = request.arguments[i];
        struct stat status {};
        if (stat(path.c_str(), &status) != 0) {
            return error("Can not open device '{}': {}", path, std::strerror(errno));
        }
        if (!S_ISBLK(status.st_mode) && !S_ISREG(status.st_mode))
            return error("{} is not a block device!", path);
        path = std::filesystem::absolute(path).string();
    }
    return Ok{};
}

Status check_meta_index(const std::string& text) {
    if (text == "internal" || text == "flexible") return Ok{};
    const Result<int64_t> number = config::parse_number(text, config::NumberUnit::one);
    if (!number) return number.error();
    return Ok{};
}

// Would the minor, resynchronised after the one that the request names, wait for itself? The volumes of a
// chain belong to different processes; only all of them together know.
bool waits_for_itself(const RunDir& run_dir, const Request& request) {
    constexpr int64_t nothing = -1;
    const auto named = request.options.find("resync-after");
    if (named == request.options.end()) return false;
    const Result<int64_t> first = config::parse_number(named->second, config::NumberUnit::one);
    std::map<int64_t, int64_t> after;
    for (const engine::ResourceStatus& resource : control::ask_all(run_dir, answer_timeout_ms).resources) {
        for (const engine::VolumeStatus& volume : resource.volumes) {
            if (volume.disk) after[volume.minor] = volume.disk->options.resync_after;
        }
    }
    // The others' chains are free of cycles, so this ends.
    for (int64_t next = first ? *first : nothing; next != nothing;) {
        if (next == request.minor) return true;
        const auto found = after.find(next);
        next = found != after.end() ? std::exchange(found->second, nothing) : nothing;
    }
    return false;
}

int change_minor(const RunDir& run_dir, const CommandLine& line) {
    const unsigned minor = *minor_of(line.object());
    Request request = request_of(line, 1);
    request.minor = static_cast<int>(minor);
    if (request.command == "attach") {
        if (Status usable = check_devices(request); !usable) return report_trouble(usable.error().text);
        if (Status index = check_meta_index(request.arguments[2]); !index)
            return report_trouble(index.error().text);
    }
    const Result<DeviceLock> lock = DeviceLock::take(minor);
    if (!lock) return report_trouble(lock.error().text);
    const std::optional<std::string> resource = control::resource_of_minor(run_dir, minor);
    if (!resource) return report_unknown_minor(line.object());
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir, *resource, failure);
    if (!client) return report_trouble(failure.text);
    if (waits_for_itself(run_dir, request)) {
        return report(line.object(), Reply{engine::error_code::resync_after_cycle, {}});
    }
    const int status = send(*client, line.object(), request);
    if (status == 0 && request.command == "del-minor") unregister_minor(minor);
    return status;
}

int unknown_resource(const std::string& object, const ConnectFailure& failure) {
    if (failure.absence == Absence::refused) return report_trouble(failure.text);
    const int status = report(object, Reply{control::error_code::invalid_resource, "unknown resource"});
    if (failure.absence == Absence::dead) fmt::print(stderr, "{}\n", failure.text);
    return status;
}

int new_minor(const RunDir& run_dir, const CommandLine& line) {
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir, line.object(), failure);
    if (!client) return unknown_resource("??", failure);
    const std::optional<unsigned> minor = minor_of(line.words[1]);
    if (!minor) {
        return report("??", Reply{control::error_code::invalid_request, "requested minor out of range"});
    }
    const Result<DeviceLock> lock = DeviceLock::take(*minor);
    if (!lock) return report_trouble(lock.error().text);
    Request request = request_of(line, 2);
    request.minor = static_cast<int>(*minor);
    return send(*client, "??", request);
}

// A connection has both its addresses for itself, among all resources of the node. 0: so would this one.
int address_in_use(const RunDir& run_dir, const Request& request) {
    const auto local = control::parse_endpoint(request.arguments[0]);
    const auto peer = control::parse_endpoint(request.arguments[1]);
    if (!local || !peer) return 0;
    for (const engine::ResourceStatus& resource : control::ask_all(run_dir, answer_timeout_ms).resources) {
        if (!resource.connection.configured) continue;
        if (resource.connection.local == local->endpoint) return engine::error_code::local_address;
        if (resource.connection.peer == peer->endpoint) return engine::error_code::peer_address;
    }
    return 0;
}

int change_resource(const RunDir& run_dir, const CommandLine& line) {
    Request request = request_of(line, 1);
    if (request.command == "connect") {
        if (Status resolved = resolve_endpoints(request); !resolved)
            return report_trouble(resolved.error().text);
    }
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir, line.object(), failure);
    if (!client) return unknown_resource(line.object(), failure);
    if (request.command == "connect") {
        if (const int code = address_in_use(run_dir, request); code != 0)
            return report(line.object(), Reply{code, {}});
    }
    return send(*client, line.object(), request);
}

// The pair of addresses names the connection; only the processes know whose it is. DRBD's tools have no word
// for it in their answers, as for a new minor: "??: Failure: ...".
int change_connection(const RunDir& run_dir, const CommandLine& line) {
    Request request = request_of(line, 0);
    if (Status resolved = resolve_endpoints(request); !resolved) return report_trouble(resolved.error().text);
    for (const engine::ResourceStatus& resource : control::ask_all(run_dir, answer_timeout_ms).resources) {
        if (!control::names_connection(request, resource.connection)) continue;
        ConnectFailure failure;
        std::optional<Client> client = Client::connect(run_dir, resource.name, failure);
        if (!client) return report_trouble(failure.text);
        return send(*client, "??", request);
    }
    return report("??", Reply{control::error_code::invalid_request, "unknown connection"});
}

int new_resource(const RunDir& run_dir, const CommandLine& line) {
    const std::string& name = line.words[0];
    if (const std::string_view problem = config::unusable_name(name); !problem.empty()) {
        fmt::print(stderr, "{}\n", problem);
        return config::exit_usage;
    }
    // Nobody could name a volume of it (cli 10.3).
    if (name.find('/') != std::string::npos) {
        return report(name, Reply{control::error_code::invalid_request, "invalid resource name"});
    }
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir, name, failure);
    const bool is_new = !client;
    if (is_new) {
        if (failure.absence == Absence::refused) return report_trouble(failure.text);
        const Status started = start_resource_process(name);
        // Started twice at once, one gives way; the other serves.
        client = Client::connect(run_dir, name, failure);
        if (!client)
            return report_trouble(started ? failure.text : fmt::format("{}: {}", name, started.error().text));
        // The live text is a convenience; its process says in its log why there is none.
        (void)start_proc_process();
    }
    const int status = send(*client, name, request_of(line, 1));
    if (status != 0 && is_new) {
        (void)client->execute(
            Request{.command = "del-resource", .minor = -1, .arguments = {}, .options = {}});
    }
    return status;
}

// A new process may be about to take the place of the dead one. It does so under the same lock
// (control/server.cpp), so what is dead under the lock may go.
void remove_dead_socket(const RunDir& run_dir, const std::string& resource) {
    const int lock = open(run_dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return;
    ConnectFailure failure;
    if (flock(lock, LOCK_EX) == 0 && !Client::connect(run_dir, resource, failure) &&
        failure.absence == Absence::dead) {
        if (const Result<std::string> socket = run_dir.socket(resource)) unlink(socket->c_str());
    }
    close(lock);
}

// down, del-resource: the process goes with the resource.
int remove_resource(const RunDir& run_dir, const CommandLine& line) {
    const std::string& name = line.words[0];
    const bool is_down = line.command->name == "down";
    ConnectFailure failure;
    std::optional<Client> client = Client::connect(run_dir, name, failure);
    if (!client) {
        if (!is_down || failure.absence == Absence::refused) return unknown_resource(name, failure);
        if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "Resource unknown\n");
        if (failure.absence == Absence::dead) remove_dead_socket(run_dir, name);
        unregister_resource(name);
        return 0;
    }
    const Result<ProcessEnd> end = ProcessEnd::of(*client);
    if (!end) return report_trouble(end.error().text);
    const std::vector<unsigned> minors = control::minors_of(run_dir, name);
    const int status = send(*client, name, request_of(line, 1));
    if (status != 0) return status;
    end->wait();
    for (const unsigned minor : minors) unregister_minor(minor);
    unregister_resource(name);
    return 0;
}

}  // namespace

int run_change(const RunDir& run_dir, const CommandLine& line) {
    const std::string_view command = line.command->name;
    if (command == "new-resource") return new_resource(run_dir, line);
    if (command == "new-minor") return new_minor(run_dir, line);
    if (command == "down" || command == "del-resource") return remove_resource(run_dir, line);
    switch (line.command->object) {
        case Object::minor:
            return change_minor(run_dir, line);
        case Object::endpoints:
            return change_connection(run_dir, line);
        default:
            return change_resource(run_dir, line);
    }
}

}  // namespace duplex::drbdsetup
