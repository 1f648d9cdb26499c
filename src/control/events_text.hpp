// The lines of "drbdsetup events2" and of the older "events" (cli 24): what differs between a resource's
// status now and when it was last printed.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "control/message.hpp"

namespace duplex::control {

struct Events2Style {
    bool timestamps = false;
    bool statistics = false;
};

class Events2Printer {
  public:
    explicit Events2Printer(const Events2Style& style) : style_(style) {}

    // The lines of one resource's event, each with its end. in_initial_dump: objects seen for the first time
    // "exist", later they are "created".
    std::string print(const StatusEvent& event, bool in_initial_dump);
    std::string print(const HelperEvent& event, const engine::ResourceStatus& resource);
    // The resource is gone.
    std::string destroy(std::string_view resource, int64_t time_us);
    // "exists -"
    std::string end_of_initial_dump(int64_t time_us);

  private:
    enum class Shown : uint8_t {
        state,            // its change is an event
        quiet_when_same,  // printed with an event, if it differs from what was printed last
        always,           // a counter: printed with every event
    };
    struct Field {
        std::string_view name;
        std::string value;
        Shown shown = Shown::state;
        bool operator==(const Field&) const = default;
    };
    struct Object {
        std::string_view kind;
        std::string key;   // identifies it
        std::string name;  // its key fields as printed
        std::vector<Field> fields;
    };
    using Objects = std::vector<Object>;

    Objects objects_of(const engine::ResourceStatus& status) const;
    Object connection_object(const engine::ResourceStatus& status) const;
    Object device_object(const engine::ResourceStatus& status, const engine::VolumeStatus& volume) const;
    Object peer_device_object(const engine::ResourceStatus& status, const engine::VolumeStatus& volume) const;
    void add_difference(std::string& text, const std::string& stamp, const Object* before, const Object& now,
                        bool in_initial_dump) const;
    std::string stamp(int64_t time_us) const;

    Events2Style style_;
    std::map<std::string, Objects, std::less<>> known_;  // by resource
};

// The old format: one printer per command.
class EventsPrinter {
  public:
    // Prints volumes with only_minor, or all if it is -1.
    explicit EventsPrinter(int only_minor) : only_minor_(only_minor) {}

    std::string print(const engine::ResourceStatus& status);
    std::string print(const HelperEvent& event, const engine::ResourceStatus& resource);

  private:
    int only_minor_;
    unsigned sequence_ = 0;
    std::map<std::string, engine::ResourceStatus, std::less<>> known_;
};

}  // namespace duplex::control
