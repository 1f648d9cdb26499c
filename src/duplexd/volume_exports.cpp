#include "duplexd/volume_exports.hpp"

#include <cerrno>
#include <cstring>
#include <sys/stat.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/log.hpp"

namespace duplex::duplexd {
namespace {

Status make_directory(const std::string& path) {
    if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return Ok{};
    return error("cannot create directory {}: {}", path, std::strerror(errno));
}

}  // namespace

VolumeExports::VolumeExports(runtime::Loop& loop, engine::Volume& volume, std::string resource,
                             const control::RunDir& run_dir, const exports::fuse::Module* fuse)
    : loop_(loop), volume_(volume), resource_(std::move(resource)), run_dir_(run_dir), fuse_(fuse) {}

VolumeExports::~VolumeExports() = default;

Status VolumeExports::start(const Settings& settings) {
    const std::string device_name = fmt::format("drbd{}", volume_.minor());
    if (settings.export_nbd) {
        const std::string directory = run_dir_.path() + "/nbd";
        if (Status made = make_directory(directory); !made) return made;
        auto server = std::make_unique<exports::nbd::Server>(loop_, volume_, resource_, runtime::log_line);
        if (Status started =
                server->start(fmt::format("{}/{}-{}.sock", directory, resource_, volume_.number()));
            !started) {
            return error("NBD export of {}: {}", device_name, started.error().text);
        }
        nbd_ = std::move(server);
    }
    if (fuse_ != nullptr) {
        const std::string directory = run_dir_.path() + "/fuse";
        if (Status made = make_directory(directory); !made) return made;
        device_.reset(fuse_->make(loop_, volume_, runtime::log_line));
        if (Status started =
                device_->start(fmt::format("{}/{}", directory, device_name), "/dev/" + device_name);
            !started) {
            return error("/dev/{}: {}", device_name, started.error().text);
        }
    }
    return Ok{};
}

void VolumeExports::when_settled(std::function<void(Status)> done) {
    if (device_) return device_->when_settled(std::move(done));
    done(Ok{});
}

void VolumeExports::check_unused(std::function<void(std::string who)> done) {
    if (device_) return device_->check_unused(std::move(done));
    done({});
}

void VolumeExports::stop(std::function<void()> done) {
    if (!nbd_) return stop_device(std::move(done));
    nbd_->stop([this, done = std::move(done)] { stop_device(done); });
}

void VolumeExports::stop_device(std::function<void()> done) {
    if (device_) return device_->stop(std::move(done));
    done();
}

}  // namespace duplex::duplexd
