#include "control/execute.hpp"

#include "config/cpu_mask.hpp"
#include "control/commands.hpp"
#include "control/reply_text.hpp"
#include "control/typed_request.hpp"

namespace duplex::control {
namespace {

using config::CommandOptions;
using config::DiskOptions;
using config::NetOptions;
using engine::Done;
using engine::Reply;
using engine::Resource;

void refuse(const Done& done, int code, std::string info) {
    done(Reply{code, std::move(info)});
}

void refuse_request(const Done& done, const Error& why) {
    refuse(done, error_code::invalid_request, why.text);
}

void change_disk_options(Resource& resource, const engine::VolumeStatus& volume, const Request& request,
                         const Done& done) {
    if (!volume.disk) return refuse(done, engine::error_code::no_disk, {});
    Result<DiskOptions> options = changed_options(request, volume.disk->options);
    if (!options) return refuse_request(done, options.error());
    resource.change_disk_options(volume.volume, *options, done);
}

void change_resource_options(Resource& resource, const engine::ResourceStatus& status, const Request& request,
                             const Done& done) {
    const Result<config::ResourceOptions> options = changed_options(request, status.options);
    if (!options) return refuse_request(done, options.error());
    if (const Result<config::CpuMask> cpus = config::parse_cpu_mask(options->cpu_mask); !cpus)
        return refuse(done, engine::error_code::cpu_mask, cpus.error().text);
    resource.change_resource_options(*options, done);
}

bool execute_on_volume(Resource& resource, const engine::VolumeStatus& status, const Request& request,
                       const Done& done) {
    const unsigned volume = status.volume;
    const std::string& command = request.command;
    const Result<CommandOptions> options = command_options(request);
    if (!options) {
        refuse_request(done, options.error());
    } else if (command == "attach") {
        const Result<engine::AttachCommand> attach = attach_command(request);
        attach ? resource.attach(volume, *attach, done) : refuse_request(done, attach.error());
    } else if (command == "detach") {
        resource.detach(volume, options->force, done);
    } else if (command == "primary") {
        resource.primary(volume, engine::PrimaryCommand{options->force}, done);
    } else if (command == "secondary") {
        resource.secondary(volume, done);
    } else if (command == "outdate") {
        resource.outdate(volume, done);
    } else if (command == "invalidate") {
        resource.invalidate(volume, done);
    } else if (command == "invalidate-remote") {
        resource.invalidate_remote(volume, done);
    } else if (command == "pause-sync") {
        resource.pause_sync(volume, done);
    } else if (command == "resume-sync") {
        resource.resume_sync(volume, done);
    } else if (command == "suspend-io") {
        resource.suspend_io(volume, done);
    } else if (command == "resume-io") {
        resource.resume_io(volume, done);
    } else if (command == "new-current-uuid") {
        resource.new_current_uuid(volume, options->clear_bitmap, done);
    } else if (command == "verify") {
        engine::VerifyCommand verify;
        if (request.options.contains("start")) verify.start_sector = options->start_sector;
        verify.stop_sector = options->stop_sector;
        resource.verify(volume, verify, done);
    } else if (command == "resize") {
        const Result<engine::ResizeCommand> resize = resize_command(request);
        resize ? resource.resize(volume, *resize, done) : refuse_request(done, resize.error());
    } else if (command == "disk-options") {
        change_disk_options(resource, status, request, done);
    } else {
        return false;
    }
    return true;
}

bool execute_on_connection(Resource& resource, const engine::ResourceStatus& status, const Request& request,
                           const Done& done) {
    if (request.command == "connect") {
        const Result<engine::ConnectCommand> connect = connect_command(request);
        connect ? resource.connect(*connect, done) : refuse_request(done, connect.error());
        return true;
    }
    if (request.command != "disconnect" && request.command != "net-options") return false;
    if (!names_connection(request, status.connection)) {
        refuse(done, error_code::invalid_request, "unknown connection");
        return true;
    }
    if (request.command == "disconnect") {
        const Result<CommandOptions> options = command_options(request);
        options ? resource.disconnect(options->force, done) : refuse_request(done, options.error());
    } else {
        const Result<NetOptions> options = changed_options(request, status.connection.options);
        options ? resource.change_net_options(*options, done) : refuse_request(done, options.error());
    }
    return true;
}

}  // namespace

bool execute_in_engine(Resource& resource, const Request& request, const Done& done) {
    if (Status options = check_options(request); !options) {
        refuse_request(done, options.error());
        return true;
    }
    const engine::ResourceStatus status = resource.status();
    if (request.command == "resource-options") {
        change_resource_options(resource, status, request, done);
        return true;
    }
    if (find_command(request.command)->object != Object::minor) {
        return execute_on_connection(resource, status, request, done);
    }
    const engine::VolumeStatus* const volume = volume_of(status, request.minor);
    if (volume == nullptr) {
        refuse(done, engine::error_code::minor_invalid, "unknown minor");
        return true;
    }
    return execute_on_volume(resource, *volume, request, done);
}

}  // namespace duplex::control
