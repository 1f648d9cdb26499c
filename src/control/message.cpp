#include "control/message.hpp"

#include <nlohmann/json.hpp>

#include "control/status_json.hpp"

namespace duplex::control {
namespace {

using nlohmann::json;

// Bytes that are no UTF-8 (a device path may hold any) are replaced rather than thrown about.
std::string line_of(const json& message) {
    return message.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

// Runs read on the parsed line; whatever the JSON library throws becomes an error value here.
template <typename T, typename Read>
Result<T> decode(std::string_view line, Read&& read) {
    const json message = json::parse(line, nullptr, false);
    if (message.is_discarded()) return error("malformed message: no JSON");
    if (!message.is_object()) return error("malformed message: no JSON object");
    try {
        return read(message);
    } catch (const json::exception& failure) {
        return error("malformed message: {}", failure.what());
    }
}

}  // namespace

std::string encode(const Request& request) {
    json message{{"command", request.command}};
    if (request.minor >= 0) message["minor"] = request.minor;
    if (!request.arguments.empty()) message["arguments"] = request.arguments;
    if (!request.options.empty()) message["options"] = request.options;
    return line_of(message);
}

std::string encode(const engine::Reply& reply) {
    return line_of({{"reply", {{"code", reply.code}, {"info", reply.info}}}});
}

std::string encode_status(const engine::ResourceStatus& status) {
    return line_of({{"status", to_json(status)}});
}

std::string encode(const Event& event) {
    if (const auto* status = std::get_if<StatusEvent>(&event)) {
        return line_of(
            {{"event", "status"}, {"time_us", status->time_us}, {"status", to_json(status->status)}});
    }
    if (const auto* helper = std::get_if<HelperEvent>(&event)) {
        json message{{"event", "helper"},
                     {"time_us", helper->time_us},
                     {"helper", helper->helper},
                     {"minor", helper->minor}};
        if (helper->wait_status) message["wait_status"] = *helper->wait_status;
        return line_of(message);
    }
    return line_of({{"event", "skipped"}, {"count", std::get<SkippedEvents>(event).count}});
}

Result<Request> decode_request(std::string_view line) {
    return decode<Request>(line, [](const json& message) -> Result<Request> {
        Request request;
        for (const auto& [name, value] : message.items()) {
            if (name == "command") {
                value.get_to(request.command);
            } else if (name == "minor") {
                if (!value.is_number_unsigned() || value.get<uint64_t>() > (1u << 20)) {
                    return error("malformed message: \"minor\" is no minor number");
                }
                request.minor = value.get<int>();
            } else if (name == "arguments") {
                value.get_to(request.arguments);
            } else if (name == "options") {
                for (const auto& [option, text] : value.items()) {
                    request.options[option] = text.get<std::string>();
                }
            } else {
                return error("malformed message: unknown member \"{}\"", name);
            }
        }
        if (request.command.empty()) return error("malformed message: no \"command\"");
        return request;
    });
}

Result<engine::Reply> decode_reply(std::string_view line) {
    return decode<engine::Reply>(line, [](const json& message) -> Result<engine::Reply> {
        const json& reply = message.at("reply");
        return engine::Reply{reply.at("code").get<int>(), reply.at("info").get<std::string>()};
    });
}

Result<engine::ResourceStatus> decode_status(std::string_view line) {
    return decode<engine::ResourceStatus>(line, [](const json& message) -> Result<engine::ResourceStatus> {
        return status_from_json(message.at("status"));
    });
}

Result<Event> decode_event(std::string_view line) {
    return decode<Event>(line, [](const json& message) -> Result<Event> {
        const std::string kind = message.at("event").get<std::string>();
        if (kind == "status") {
            return Event{
                StatusEvent{message.at("time_us").get<int64_t>(), status_from_json(message.at("status"))}};
        }
        if (kind == "helper") {
            HelperEvent helper{message.at("time_us").get<int64_t>(), message.at("helper").get<std::string>(),
                               message.at("minor").get<int>(), std::nullopt};
            if (message.contains("wait_status")) helper.wait_status = message["wait_status"].get<int>();
            return Event{helper};
        }
        if (kind == "skipped") return Event{SkippedEvents{message.at("count").get<uint64_t>()}};
        return error("malformed message: unknown event \"{}\"", kind);
    });
}

}  // namespace duplex::control
