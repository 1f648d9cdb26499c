#include "exports/fuse/file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "runtime/fd.hpp"

namespace duplex::exports::fuse {

namespace {

constexpr uint32_t file_block_bytes = 4096;
constexpr fuse_ino_t file_inode = FUSE_ROOT_ID;  // the mount's root is the file itself

// libfuse wants room for 256 pages of data and one of headers.
constexpr size_t receive_bytes = engine::request_bytes_max + 4096;
// A write's data follows 80 bytes of headers: so placed that it is aligned for fast copying.
constexpr size_t write_header_bytes = 80;
constexpr size_t buffer_bytes = 4096 + receive_bytes;

// What the loop driver and a file's users can be told. A Secondary's refusals are I/O errors here.
int file_error_of(int error_number) {
    switch (error_number) {
        case 0:
        case EINVAL:
        case ENOMEM:
        case ENOSPC:
        case EOPNOTSUPP:
            return error_number;
        default:
            return EIO;
    }
}

void unmap_buffer(char* buffer) {
    munmap(buffer, buffer_bytes);
}

char* map_buffer() {
    void* memory = mmap(nullptr, buffer_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ensure(memory != MAP_FAILED);
    return static_cast<char*>(memory);
}

}  // namespace

File::File(runtime::Loop& loop, engine::Volume& volume, Log log)
    : loop_(loop), volume_(volume), log_(std::move(log)), buffer_(map_buffer(), unmap_buffer) {}

File::~File() {
    ensure(session_ == nullptr && !poll_.busy());
    loop_.cancel(take_soon_);
    loop_.cancel(go_on_soon_);
    loop_.cancel(settle_soon_);
}

// ---- mounting

Status File::mount(const std::string& path) {
    while (umount2(path.c_str(), MNT_DETACH) == 0) {
    }
    const runtime::Fd mount_point(open(path.c_str(), O_CREAT | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!mount_point) return error("{}: {}", path, strerrordesc_np(errno));
    runtime::Fd device(open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!device) return error("open /dev/fuse: {}", strerrordesc_np(errno));

    session_ = new_session();
    if (session_ == nullptr) return error("{}: libfuse cannot make a session", path);
    if (Status mounted = mount_at(path, device.get()); !mounted) {
        fuse_session_destroy(std::exchange(session_, nullptr));
        return mounted;
    }
    device.release();  // the session's now
    path_ = path;
    wait_for_requests();
    return Ok{};
}

fuse_session* File::new_session() {
    // libfuse insists on hearing of max_read both here and in initialized().
    const std::string options = fmt::format("-omax_read={}", engine::request_bytes_max);
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_session* session = nullptr;
    if (fuse_opt_add_arg(&args, "duplex") == 0 && fuse_opt_add_arg(&args, options.c_str()) == 0)
        session = fuse_session_new(&args, &operations(), sizeof(fuse_lowlevel_ops), this);
    fuse_opt_free_args(&args);
    return session;
}

// We mount ourselves and hand libfuse the descriptor, so it needs no helper program and no /etc/mtab.
Status File::mount_at(const std::string& path, int fd) {
    const std::string handed_over = fmt::format("/dev/fd/{}", fd);
    const std::string options =
        fmt::format("fd={},rootmode={:o},user_id={},group_id={},max_read={}", fd,
                    static_cast<unsigned>(S_IFREG), geteuid(), getegid(), engine::request_bytes_max);
    constexpr unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (::mount("duplex", path.c_str(), "fuse.duplex", flags, options.c_str()) != 0)
        return error("mount FUSE on {}: {}", path, strerrordesc_np(errno));
    if (fuse_session_mount(session_, handed_over.c_str()) != 0) {
        umount2(path.c_str(), MNT_DETACH);
        return error("{}: libfuse does not take the descriptor {}", path, handed_over);
    }
    return Ok{};
}

void File::unmount(std::function<void()> done) {
    ensure(!unmounting_);
    unmounting_ = true;
    unmounted_ = std::move(done);
    if (session_ != nullptr && umount2(path_.c_str(), MNT_DETACH) != 0)
        log_(engine::LogLevel::warning, fmt::format("umount {}: {}", path_, strerrordesc_np(errno)));
    if (session_ != nullptr) unlink(path_.c_str());
    poll_.cancel();
    loop_.next_turn(settle_soon_);
}

void File::settle() {
    if (!unmounting_ || calls_.used() > 0 || room_awaited_ || poll_.busy() || !unmounted_) return;
    if (session_ != nullptr) fuse_session_destroy(std::exchange(session_, nullptr));
    std::exchange(unmounted_, nullptr)();
}

// ---- receiving

void File::wait_for_requests() {
    if (unmounting_ || connection_over_ || poll_.busy()) return;
    poll_.poll(fuse_session_fd(session_), POLLIN);
}

void File::readable(int result) {
    if (unmounting_) {
        loop_.next_turn(settle_soon_);
        return;
    }
    if (result < 0) {
        log_(engine::LogLevel::error,
             fmt::format("block drbd{}: poll of {}: {}", volume_.minor(), path_, strerrordesc_np(-result)));
        return;
    }
    take_requests();
}

void File::take_requests() {
    for (unsigned taken = 0; taken < batch_max; ++taken) {
        if (unmounting_ || !waiting_.empty() || calls_.available() == 0) return;  // go_on() comes back here
        fuse_buf received{};
        received.mem = buffer_.get() + 4096 - write_header_bytes;
        const int bytes = fuse_session_receive_buf(session_, &received);
        if (bytes == -EAGAIN) {
            wait_for_requests();
            return;
        }
        if (bytes == -EINTR) continue;
        if (bytes <= 0) {
            connection_over_ = true;
            log_(engine::LogLevel::error,
                 fmt::format("block drbd{}: the FUSE connection of {} ended: {}", volume_.minor(), path_,
                             bytes == 0 ? "it was unmounted or aborted" : strerrordesc_np(-bytes)));
            return;
        }
        fuse_session_process_buf(session_, &received);
    }
    loop_.next_turn(take_soon_);
}

File& File::of(fuse_req_t request) {
    return *static_cast<File*>(fuse_req_userdata(request));
}

const fuse_lowlevel_ops& File::operations() {
    static const fuse_lowlevel_ops operations = [] {
        fuse_lowlevel_ops ops{};
        ops.init = [](void* self, fuse_conn_info* connection) {
            static_cast<File*>(self)->initialized(*connection);
        };
        ops.getattr = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) {
            of(request).get_attributes(request);
        };
        ops.statfs = [](fuse_req_t request, fuse_ino_t) { of(request).get_statistics(request); };
        ops.open = [](fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
            file->direct_io = 1;
            file->noflush = 1;
            fuse_reply_open(request, file);
        };
        ops.read = [](fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
            of(request).begin_io(request, engine::Op::read, size, offset, nullptr);
        };
        ops.write = [](fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
                       fuse_file_info*) {
            of(request).begin_io(request, engine::Op::write, size, offset, data);
        };
        ops.fsync = [](fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
            of(request).begin(request, engine::Op::flush, 0, 0, nullptr, false);
        };
        ops.fallocate = [](fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                           fuse_file_info*) { of(request).begin_allocate(request, mode, offset, length); };
        return ops;
    }();
    return operations;
}

void File::initialized(fuse_conn_info& connection) {
    connection.max_write = engine::request_bytes_max;
    connection.max_read = engine::request_bytes_max;
    connection.max_background = background_max;
    connection.congestion_threshold = background_max;
    connection.want = connection.capable & FUSE_CAP_ASYNC_DIO;
}

void File::get_attributes(fuse_req_t request) {
    struct stat attributes {};
    attributes.st_ino = file_inode;
    attributes.st_mode = S_IFREG | 0600;
    attributes.st_nlink = 1;
    attributes.st_uid = geteuid();
    attributes.st_gid = getegid();
    attributes.st_blksize = file_block_bytes;
    attributes.st_blocks = static_cast<blkcnt_t>(volume_.size_sectors());
    attributes.st_size = static_cast<off_t>(volume_.size_sectors() * sector_bytes);
    fuse_reply_attr(request, &attributes, 0);  // valid for no time: the size may change
}

// The loop driver takes the block size for the granularity of discards.
void File::get_statistics(fuse_req_t request) {
    struct statvfs statistics {};
    statistics.f_bsize = file_block_bytes;
    statistics.f_frsize = file_block_bytes;
    statistics.f_blocks = volume_.size_sectors() * sector_bytes / file_block_bytes;
    statistics.f_namemax = NAME_MAX;
    fuse_reply_statfs(request, &statistics);
}

// ---- requests

void File::begin_io(fuse_req_t request, engine::Op op, uint64_t size_bytes, int64_t position_bytes,
                    const char* data) {
    const uint64_t end_bytes = volume_.size_sectors() * sector_bytes;
    const auto position = static_cast<uint64_t>(position_bytes);
    if (op == engine::Op::read) {
        // A file may be read to its end and beyond.
        size_bytes = position < end_bytes ? std::min(size_bytes, end_bytes - position) : 0;
        if (size_bytes == 0) {
            fuse_reply_buf(request, nullptr, 0);
            return;
        }
    } else if (position > end_bytes || size_bytes > end_bytes - position) {
        fuse_reply_err(request, ENOSPC);
        return;
    }
    if (size_bytes == 0 || size_bytes > engine::request_bytes_max) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    begin(request, op, position, size_bytes, data, false);
}

// The loop driver punches holes for discards, but also to write zeroes where that is allowed to unmap: so a
// hole must read as zeroes. Where discards cannot be had it falls back, for the zeroes, to writing them.
void File::begin_allocate(fuse_req_t request, int mode, int64_t position_bytes, int64_t size_bytes) {
    const bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    const bool zero = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
    const uint64_t end_bytes = volume_.size_sectors() * sector_bytes;
    const auto position = static_cast<uint64_t>(position_bytes);
    const auto size = static_cast<uint64_t>(size_bytes);
    if (!(punch && volume_.can_discard()) && !zero) {
        fuse_reply_err(request, EOPNOTSUPP);
    } else if (position_bytes < 0 || size_bytes <= 0 || position > end_bytes || size > end_bytes - position) {
        fuse_reply_err(request, EINVAL);
    } else {
        begin(request, engine::Op::write_zeroes, position, size, nullptr, punch);
    }
}

void File::begin(fuse_req_t request, engine::Op op, uint64_t position_bytes, uint64_t size_bytes,
                 const char* data, bool may_unmap) {
    if (position_bytes % sector_bytes != 0 || size_bytes % sector_bytes != 0) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    Call& call = *calls_.take();
    call.fuse = request;
    call.op = op;
    call.may_unmap = may_unmap;
    call.position_bytes = position_bytes;
    call.left_bytes = size_bytes;
    call.data = data;
    if (!waiting_.empty() || !start_piece(call)) waiting_.push_back(call);
}

bool File::start_piece(Call& call) {
    const bool has_data = call.op == engine::Op::read || call.op == engine::Op::write;
    const uint32_t piece_max = has_data ? engine::request_bytes_max : engine::discard_request_bytes_max;
    const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(call.left_bytes, piece_max));
    engine::Request* request =
        volume_.take_request(call.op, Sector(call.position_bytes / sector_bytes), bytes, *this);
    if (request == nullptr) {
        room_awaited_ = true;
        return false;
    }
    request->fua = false;
    request->may_unmap = call.may_unmap;
    request->user_data = &call;
    call.request = request;
    if (call.op == engine::Op::write) std::memcpy(request->data, call.data, bytes);
    volume_.submit(*request);
    return true;
}

void File::completed(engine::Request& request) {
    Call& call = *static_cast<Call*>(request.user_data);
    const uint32_t bytes = request.size_bytes;
    const bool whole = bytes == call.left_bytes;
    if (request.error != 0 || whole) {
        answer(call, request.error);
        if (!waiting_.empty() || calls_.available() == 1 || unmounting_) loop_.next_turn(go_on_soon_);
        return;
    }
    volume_.release(request);
    call.request = nullptr;
    call.position_bytes += bytes;
    call.left_bytes -= bytes;
    waiting_.push_back(call);
    loop_.next_turn(go_on_soon_);
}

void File::answer(Call& call, int error) {
    engine::Request& request = *call.request;
    // What the kernel does not want to hear any more (the caller was killed) is no fault of ours.
    if (error != 0) {
        fuse_reply_err(call.fuse, file_error_of(error));
    } else if (call.op == engine::Op::read) {
        fuse_reply_buf(call.fuse, reinterpret_cast<const char*>(request.data), request.size_bytes);
    } else if (call.op == engine::Op::write) {
        fuse_reply_write(call.fuse, request.size_bytes);
    } else {
        fuse_reply_err(call.fuse, 0);
    }
    volume_.release(request);
    call.request = nullptr;
    calls_.give(&call);
}

void File::room() {
    room_awaited_ = false;
    loop_.next_turn(go_on_soon_);
}

void File::go_on() {
    while (!waiting_.empty()) {
        Call& call = waiting_.pop_front();
        if (start_piece(call)) continue;
        waiting_.push_front(call);
        return;
    }
    if (unmounting_) {
        loop_.next_turn(settle_soon_);
    } else if (!poll_.busy() && !connection_over_) {
        take_requests();
    }
}

}  // namespace duplex::exports::fuse
