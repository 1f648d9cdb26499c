// Follows the events of one resource or of all of the node's, with those that come later.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "control/client.hpp"

namespace duplex::drbdsetup {

class Watch {
  public:
    class Sink {
      public:
        virtual void event(const std::string& resource, const control::Event& event) = 0;
        // Its process has ended.
        virtual void gone(const std::string& resource) = 0;

      protected:
        ~Sink() = default;
    };

    // only: no other resource is followed, and it need not be there yet; empty: all.
    static Result<Watch> open(const control::RunDir& run_dir, std::string only);

    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&&) = delete;
    ~Watch();

    // The first status of every resource that is there, by name. Those that do not answer within timeout_ms
    // are told of on stderr and not followed.
    void take_initial(Sink& sink, int timeout_ms);
    // For ever, or until nobody reads stdout any more.
    void follow(Sink& sink);

  private:
    struct Followed {
        control::Client client;
        bool ended = false;
    };

    Watch(const control::RunDir& run_dir, std::string only, int inotify)
        : run_dir_(run_dir), only_(std::move(only)), inotify_(inotify) {}

    // Those that are there and not followed yet.
    void find_new();
    void read_directory_changes() const;
    // Hands on what has arrived; at most one event if only_first. True if there was any.
    bool pass_on(const std::string& name, Followed& followed, Sink& sink, bool only_first);
    void drop_ended(Sink& sink);

    const control::RunDir run_dir_;
    const std::string only_;
    int inotify_;
    std::map<std::string, Followed> followed_;
};

}  // namespace duplex::drbdsetup
