// What tools and process say to each other on $DUPLEX_RUN_DIR/RESOURCE.sock: JSON objects, one a line.
//
//     ->
//     {"command":"attach","minor":0,"arguments":["/dev/sdb1","/dev/sdb1","internal"],"options":{"al-extents":"257"}}
//     <- {"reply":{"code":101,"info":""}}
//     -> {"command":"status"}
//     <- {"status":{...}}
//     -> {"command":"events"}
//     <- {"event":"status","time_us":...,"status":{...}}                    now, and at every change
//     <- {"event":"helper","time_us":...,"helper":"fence-peer","minor":-1}  and again with "wait_status" at
//     its end
//     <- {"event":"skipped","count":3}                                     events that a slow reader missed
//
// Options carry the text of the command line under the names of the option table (config/options.hpp), which
// both sides read it with.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "engine/resource.hpp"

namespace duplex::control {

inline constexpr size_t request_bytes_max = 64 << 10;

struct Request {
    std::string command;                 // drbdsetup's word (cli 19), or "status", "events"
    int minor = -1;                      // -1: none, the whole resource is meant
    std::vector<std::string> arguments;  // what follows the object on the command line
    std::map<std::string, std::string, std::less<>> options;

    bool operator==(const Request&) const = default;
};

struct StatusEvent {
    int64_t time_us = 0;  // of the real-time clock
    engine::ResourceStatus status;
};

// A helper program was started; or has ended, if wait_status is there (cli 24.1: the raw one).
struct HelperEvent {
    int64_t time_us = 0;
    std::string helper;
    int minor = -1;
    std::optional<int> wait_status;
};

struct SkippedEvents {
    uint64_t count = 0;
};

using Event = std::variant<StatusEvent, HelperEvent, SkippedEvents>;

// Lines, with their end.
std::string encode(const Request& request);
std::string encode(const engine::Reply& reply);
std::string encode_status(const engine::ResourceStatus& status);
std::string encode(const Event& event);

// Lines, without their end. Errors say which member is wrong.
Result<Request> decode_request(std::string_view line);
Result<engine::Reply> decode_reply(std::string_view line);
Result<engine::ResourceStatus> decode_status(std::string_view line);
Result<Event> decode_event(std::string_view line);

}  // namespace duplex::control
