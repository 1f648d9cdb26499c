// The commands that make and remove minors and the resource, and those that have to wait for the exports.
#include <charconv>
#include <utility>

#include "control/execute.hpp"
#include "control/reply_text.hpp"
#include "control/typed_request.hpp"
#include "duplexd/process.hpp"
#include "runtime/log.hpp"

namespace duplex::duplexd {
namespace {

using engine::Reply;
using wire::ConnState;
using wire::DiskState;
using wire::Role;

namespace code = control::error_code;

constexpr unsigned volume_max = 65535;

bool succeeded(const Reply& reply) {
    return control::exit_status_of(reply.code) == 0;
}

Reply done_reply() {
    return Reply{engine::error_code::no_error, {}};
}

// What went wrong in a step of "down", before what the engine says about it (cli 20.1).
engine::Done with_words(engine::Done done, std::string words) {
    return [done = std::move(done), words = std::move(words)](Reply reply) {
        if (!succeeded(reply)) reply.info = reply.info.empty() ? words : words + ": " + reply.info;
        done(reply);
    };
}

}  // namespace

void Process::execute(const control::Request& request, Done done) {
    if (going_down_) return done(Reply{code::invalid_request, "the resource is going down"});
    if (execute_here(request, done)) return;
    const auto minor = static_cast<unsigned>(request.minor);
    const bool has_minor = request.minor >= 0 && minors_.contains(minor);
    const Done answer = !has_minor ? done : Done([this, minor, done](const Reply& reply) {
        reply_when_settled(minor, reply, done);
    });
    if (!control::execute_in_engine(*resource_, request, answer)) {
        done(Reply{code::invalid_request, "unknown command " + request.command});
    }
}

bool Process::execute_here(const control::Request& request, const Done& done) {
    const std::string& command = request.command;
    const auto minor = static_cast<unsigned>(request.minor);
    if (command == "new-resource") {
        // The process is there already; what is left of the command are its options.
        if (request.options.empty()) {
            done(done_reply());
            return true;
        }
        control::Request options = request;
        options.command = "resource-options";
        change_options(options, done);
    } else if (command == "resource-options") {
        change_options(request, done);
    } else if (command == "new-minor") {
        new_minor(request, done);
    } else if (command == "down") {
        down(done);
    } else if (command == "del-resource") {
        delete_resource(done);
    } else if (command == "del-minor" && minors_.contains(minor)) {
        delete_minor(minor, done);
    } else if (command == "secondary" && minors_.contains(minor)) {
        secondary(minor, request, done);
    } else {
        return false;
    }
    return true;
}

void Process::change_options(const control::Request& request, const Done& done) {
    control::execute_in_engine(*resource_, request, [this, done](const Reply& reply) {
        if (succeeded(reply)) cpus_.use(resource_->status().options.cpu_mask);
        done(reply);
    });
}

void Process::new_minor(const control::Request& request, const Done& done) {
    if (request.minor < 0 || request.minor > static_cast<int>(control::minor_max)) {
        return done(Reply{code::invalid_request, "requested minor out of range"});
    }
    unsigned volume = 0;
    const std::string text = request.arguments.empty() ? std::string() : request.arguments[0];
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), volume);
    if (failed != std::errc() || end != text.data() + text.size() || volume > volume_max) {
        return done(Reply{code::invalid_request, "requested volume id out of range"});
    }
    const auto minor = static_cast<unsigned>(request.minor);
    if (const auto found = minors_.find(minor); found != minors_.end()) {
        return done(found->second.volume == volume
                        ? done_reply()
                        : Reply{code::invalid_request, "minor exists as different volume"});
    }
    if (resource_->volume(volume) != nullptr) {
        return done(Reply{code::minor_or_volume_exists, "volume exists as different minor"});
    }
    make_minor(minor, volume, done);
}

void Process::make_minor(unsigned minor, unsigned volume, const Done& done) {
    Result<control::MinorClaim> claim = control::MinorClaim::take(run_dir_, minor, name_);
    if (!claim) {
        const bool is_other = control::resource_of_minor(run_dir_, minor).has_value();
        return done(is_other ? Reply{code::invalid_request,
                                     "minor exists in different resource\n" + claim.error().text}
                             : Reply{code::invalid_request, claim.error().text});
    }
    engine::Volume* const added = resource_->add_volume(volume, minor);
    if (added == nullptr) return done(Reply{code::minor_or_volume_exists, {}});
    Minor& made = minors_.emplace(minor, Minor{std::move(*claim), volume, nullptr}).first->second;
    made.exports = std::make_unique<VolumeExports>(*loop_, *added, name_, run_dir_, fuse_);
    // A minor without its block device is no use to whoever asked for it: then there is none.
    const auto settled = [this, minor, done](const Status& status) {
        if (status) return done(done_reply());
        remove_minor(minor, [done, why = status.error().text](const Reply&) {
            done(Reply{code::invalid_request, why});
        });
    };
    if (Status started = made.exports->start(settings_); !started) return settled(started);
    made.exports->when_settled(settled);
}

void Process::delete_minor(unsigned minor, const Done& done) {
    const engine::ResourceStatus now = resource_->status();
    const engine::VolumeStatus* const volume = control::volume_of(now, static_cast<int>(minor));
    if (volume == nullptr || volume->state.disk != DiskState::diskless ||
        volume->state.role != Role::secondary) {
        return done(Reply{code::minor_configured, {}});
    }
    remove_minor(minor, done);
}

// The exports go first: they hold on to the volume.
void Process::remove_minor(unsigned minor, const Done& done) {
    minors_.at(minor).exports->stop([this, minor, done] {
        Minor& gone = minors_.at(minor);
        dead_exports_.push_back(std::move(gone.exports));
        resource_->remove_volume(gone.volume, [this, minor, done](const Reply& reply) {
            if (succeeded(reply)) minors_.erase(minor);
            done(succeeded(reply) ? done_reply() : reply);
        });
    });
}

// A loop device cannot refuse to be opened, so its users are looked for before the engine is asked, and
// named.
void Process::secondary(unsigned minor, const control::Request& request, const Done& done) {
    minors_.at(minor).exports->check_unused([this, minor, request, done](const std::string& who) {
        constexpr int device_in_use = -12;
        if (!who.empty()) return done(Reply{device_in_use, fmt::format("/dev/drbd{}: {}", minor, who)});
        control::execute_in_engine(*resource_, request, [this, minor, done](const Reply& reply) {
            reply_when_settled(minor, reply, done);
        });
    });
}

// Who asked may look at the block device next: it must show by then what has become of the volume.
void Process::reply_when_settled(unsigned minor, const Reply& reply, const Done& done) {
    const auto found = minors_.find(minor);
    if (found == minors_.end() || !found->second.exports || !succeeded(reply)) return done(reply);
    found->second.exports->when_settled([reply, done](const Status& settled) {
        // The command itself has succeeded; that the device could not follow is the log's affair and the
        // user's.
        if (!settled) runtime::log_format(engine::LogLevel::error, "duplex: {}", settled.error().text);
        done(reply);
    });
}

void Process::run_steps(std::vector<Step> steps, Done done) {
    if (steps.empty()) return done(done_reply());
    const Step step = std::move(steps.front());
    steps.erase(steps.begin());
    step([steps = std::move(steps), done = std::move(done)](const Reply& reply) {
        if (!succeeded(reply)) return done(reply);
        run_steps(steps, done);
    });
}

std::vector<Process::Step> Process::steps_of_down() {
    std::vector<Step> steps;
    const engine::ResourceStatus now = resource_->status();
    for (const engine::VolumeStatus& volume : now.volumes) {
        if (volume.state.role != Role::primary) continue;
        steps.push_back([this, minor = volume.minor](const Done& done) {
            const control::Request demote{"secondary", static_cast<int>(minor), {}, {}};
            secondary(minor, demote, with_words(done, "failed to demote"));
        });
    }
    steps.push_back([this](const Done& done) {
        if (resource_->status().connection.state == ConnState::stand_alone) return done(done_reply());
        resource_->disconnect(false, with_words(done, "failed to disconnect"));
    });
    for (const engine::VolumeStatus& volume : now.volumes) {
        if (volume.state.disk == DiskState::diskless) continue;
        steps.push_back([this, number = volume.volume](const Done& done) {
            resource_->detach(number, false, with_words(done, "failed to detach"));
        });
    }
    for (const engine::VolumeStatus& volume : now.volumes) {
        steps.push_back([this, minor = volume.minor](const Done& done) {
            remove_minor(minor, with_words(done, "failed to delete volume"));
        });
    }
    return steps;
}

void Process::down(const Done& done) {
    going_down_ = true;
    run_steps(steps_of_down(), [this, done](const Reply& reply) {
        done(reply);
        if (succeeded(reply)) {
            end();
        } else {
            going_down_ = false;
        }
    });
}

void Process::delete_resource(const Done& done) {
    const engine::ResourceStatus now = resource_->status();
    if (now.connection.state != ConnState::stand_alone) {
        return done(Reply{engine::error_code::net_configured, {}});
    }
    if (!now.volumes.empty()) return done(Reply{code::resource_in_use, {}});
    going_down_ = true;
    done(done_reply());
    end();
}

}  // namespace duplex::duplexd
