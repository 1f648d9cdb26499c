#include "exports/fuse/loop_helper.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <optional>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/result.hpp"
#include "exports/fuse/block_users.hpp"
#include "runtime/fd.hpp"

namespace duplex::exports::fuse {

namespace {

using runtime::Fd;
using TimePoint = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

constexpr unsigned loop_major = 7;
constexpr uint32_t block_bytes = 512;
constexpr auto race_limit = std::chrono::seconds(10);  // for a loop number nobody else takes first
constexpr auto udev_limit = std::chrono::seconds(2);   // a probe of a device that just changed
constexpr auto write_back_limit = std::chrono::seconds(5);
constexpr auto scan_pause = milliseconds(50);

Status ask(int fd, unsigned long request, long argument, std::string_view name) {
    if (ioctl(fd, request, argument) < 0) return error("{}: {}", name, strerrordesc_np(errno));
    return Ok{};
}

// The node a DRBD device has: of the group "disk".
Status make_node(const std::string& path, unsigned number) {
    constexpr mode_t mode = 0660;
    if (mknod(path.c_str(), S_IFBLK | mode, makedev(loop_major, number)) != 0)
        return error("mknod {}: {}", path, strerrordesc_np(errno));
    const group* disk = getgrnam("disk");
    if (chmod(path.c_str(), mode) != 0 || chown(path.c_str(), 0, disk != nullptr ? disk->gr_gid : 0) != 0)
        return error("{}: {}", path, strerrordesc_np(errno));
    return Ok{};
}

// Whether the device's path is free or holds only what an earlier process left: a link, or a node of a loop
// device.
Status may_replace(const std::string& path) {
    struct stat found {};
    if (lstat(path.c_str(), &found) != 0 || S_ISLNK(found.st_mode)) return Ok{};
    if (!S_ISBLK(found.st_mode)) return error("{} is in the way: it is not a block device", path);
    const unsigned owner = major(found.st_rdev);
    if (owner == loop_major) return Ok{};
    const std::string entry = fmt::format("/sys/dev/block/{}:{}", owner, minor(found.st_rdev));
    if (access(entry.c_str(), F_OK) == 0)
        return error("{} is a device of the kernel's own ({})", path, entry);
    return Ok{};
}

// Held while a node is put in place or taken away: the helper of a process that was killed must not remove
// the node that its successor's helper has just put there.
class NodeLock {
  public:
    explicit NodeLock(const std::string& path)
        : directory_(open(path.substr(0, path.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        while (directory_ && flock(directory_.get(), LOCK_EX) != 0 && errno == EINTR) {
        }
    }

  private:
    Fd directory_;
};

class Helper {
  public:
    Helper(std::string file, std::string device) : file_(std::move(file)), device_(std::move(device)) {}

    int run();

  private:
    Status attach();
    Result<bool> attach_number(int control, int backing);
    void watch_writers();

    bool take_command();
    void obey(std::string_view command);
    Status resize();
    Status set_writable(bool writable);
    void detach();
    void remove_node();
    void reply(std::string_view text);
    void reply(const Status& status);
    void log(std::string_view text) { reply(fmt::format("log {}", text)); }

    void begin_check();
    void go_on_checking();
    void drain_watch();
    void write_back();
    void write_back_ended();
    int wait_ms() const;

    const std::string file_;
    const std::string device_;
    unsigned number_ = 0;
    Fd backing_;
    Fd loop_;
    Fd watch_;
    bool over_ = false;

    // The page cache is written back by a child of ours, so that whatever makes it wait keeps nobody else
    // waiting.
    Fd writer_;  // its pidfd
    pid_t writer_pid_ = 0;
    bool write_back_again_ = false;

    struct Check {
        TimePoint begun;
        bool written_back = false;  // since nobody was found to use the device
    };
    std::optional<Check> check_;
};

void Helper::reply(std::string_view text) {
    text = text.substr(0, loop_message_bytes_max);
    if (send(loop_helper_channel, text.data(), text.size(), MSG_NOSIGNAL) < 0) over_ = true;
}

void Helper::reply(const Status& status) {
    reply(status ? std::string("done") : fmt::format("failed {}", status.error().text));
}

// ---- attaching

Status Helper::attach() {
    if (Status free = may_replace(device_); !free) return free;
    backing_ = Fd(open(file_.c_str(), O_RDWR | O_CLOEXEC));
    if (!backing_) return error("open {}: {}", file_, strerrordesc_np(errno));
    const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control) return error("open /dev/loop-control: {}", strerrordesc_np(errno));
    const TimePoint deadline = std::chrono::steady_clock::now() + race_limit;
    for (;;) {
        const Result<bool> attached = attach_number(control.get(), backing_.get());
        if (!attached) return attached.error();
        if (*attached) break;
        if (std::chrono::steady_clock::now() > deadline)
            return error("no loop device for {}: others took each free one first", device_);
        std::this_thread::yield();
    }
    watch_writers();
    return Ok{};
}

// False: another process took the free number between our question and our claim.
Result<bool> Helper::attach_number(int control, int backing) {
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) return error("LOOP_CTL_GET_FREE: {}", strerrordesc_np(errno));
    number_ = static_cast<unsigned>(number);

    // Under its final name only once it is the device: whoever waits for the node must not find an empty one.
    const std::string node = fmt::format("{}.new", device_);
    unlink(node.c_str());
    if (Status made = make_node(node, number_); !made) return made.error();
    Fd loop(open(node.c_str(), O_RDWR | O_CLOEXEC));
    if (!loop) {
        const Error failure = error("open {} (loop{}): {}", node, number_, strerrordesc_np(errno));
        unlink(node.c_str());
        return failure;
    }
    loop_config config{};
    config.fd = static_cast<uint32_t>(backing);
    config.block_size = block_bytes;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    std::strncpy(reinterpret_cast<char*>(config.info.lo_file_name), file_.c_str(), LO_NAME_SIZE - 1);
    if (ioctl(loop.get(), LOOP_CONFIGURE, &config) != 0) {
        const int error_number = errno;
        unlink(node.c_str());
        if (error_number == EBUSY) return false;
        return error("LOOP_CONFIGURE of loop{} on {}: {}", number_, file_, strerrordesc_np(error_number));
    }
    const NodeLock lock(device_);
    const int read_only = 1;
    if (ioctl(loop.get(), BLKROSET, &read_only) != 0 || rename(node.c_str(), device_.c_str()) != 0) {
        const Error failure = error("{} (loop{}): {}", device_, number_, strerrordesc_np(errno));
        unlink(node.c_str());
        return failure;
    }
    loop_ = std::move(loop);
    return true;
}

// The last close of a block device writes its page cache back. Our own hold keeps that from happening, so we
// do it whenever somebody who could have written closes it.
void Helper::watch_writers() {
    watch_ = Fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch_ || inotify_add_watch(watch_.get(), device_.c_str(), IN_CLOSE_WRITE) < 0)
        log(fmt::format("{} is not written back when it is closed: inotify: {}", device_,
                        strerrordesc_np(errno)));
}

// ---- commands

int Helper::run() {
    const Status attached = attach();
    reply(attached);
    if (!attached) return 1;
    while (!over_) {
        pollfd waiting[] = {
            {loop_helper_channel, POLLIN, 0}, {watch_.get(), POLLIN, 0}, {writer_.get(), POLLIN, 0}};
        if (poll(waiting, std::size(waiting), wait_ms()) < 0 && errno != EINTR) return 1;
        if (waiting[1].revents & POLLIN) drain_watch();
        if (waiting[2].revents & POLLIN) write_back_ended();
        if (waiting[0].revents != 0 && !take_command()) break;
        if (check_) go_on_checking();
    }
    if (loop_) detach();
    return 0;
}

bool Helper::take_command() {
    char text[loop_message_bytes_max];
    const ssize_t bytes = recv(loop_helper_channel, text, sizeof text, 0);
    if (bytes <= 0) return bytes < 0 && errno == EINTR;
    obey({text, static_cast<size_t>(bytes)});
    return true;
}

void Helper::obey(std::string_view command) {
    if (command == "check") return begin_check();
    if (command == "size") return reply(resize());
    if (command == "writable") return reply(set_writable(true));
    if (command == "readonly") return reply(set_writable(false));
    if (command == "detach") {
        detach();
        over_ = true;
        return reply("done");
    }
    reply(fmt::format("failed unknown command '{}'", command));
}

Status Helper::resize() {
    // Older kernels size the loop device by the inode as it was last asked for.
    struct stat found {};
    if (fstat(backing_.get(), &found) != 0) return error("stat {}: {}", file_, strerrordesc_np(errno));
    return ask(loop_.get(), LOOP_SET_CAPACITY, 0, "LOOP_SET_CAPACITY");
}

// While Secondary the peer's writes change the disk under our page cache: what is in it must go at every
// change of role.
Status Helper::set_writable(bool writable) {
    const int read_only = writable ? 0 : 1;
    if (ioctl(loop_.get(), BLKROSET, &read_only) != 0) return error("BLKROSET: {}", strerrordesc_np(errno));
    if (Status flushed = ask(loop_.get(), BLKFLSBUF, 0, "BLKFLSBUF"); !flushed) return flushed;
    // For udev, which could not read it before.
    const Fd uevent(open(fmt::format("/sys/block/loop{}/uevent", number_).c_str(), O_WRONLY | O_CLOEXEC));
    constexpr std::string_view change = "change";
    if (uevent && write(uevent.get(), change.data(), change.size()) < 0)
        log(fmt::format("change event of loop{}: {}", number_, strerrordesc_np(errno)));
    return Ok{};
}

void Helper::detach() {
    remove_node();
    watch_.close();
    // The kernel keeps the mark with the number: the next user of this one, whoever that is, would find his
    // device read-only.
    const int read_only = 0;
    if (ioctl(loop_.get(), BLKROSET, &read_only) != 0)
        log(fmt::format("loop{} stays read-only: {}", number_, strerrordesc_np(errno)));
    loop_.close();  // frees it, with the last of its users
}

void Helper::remove_node() {
    const NodeLock lock(device_);
    struct stat found {};
    if (lstat(device_.c_str(), &found) == 0 && S_ISBLK(found.st_mode) &&
        found.st_rdev == makedev(loop_major, number_) && unlink(device_.c_str()) != 0)
        log(fmt::format("unlink {}: {}", device_, strerrordesc_np(errno)));
}

// ---- who uses it

void Helper::begin_check() {
    check_ = Check{std::chrono::steady_clock::now()};
}

// Users first; when there are none, what they left in the page cache is written back; then users again.
void Helper::go_on_checking() {
    const auto waited = std::chrono::steady_clock::now() - check_->begun;
    const pid_t ours[] = {getpid(), writer_pid_};
    const auto users = users_of_block_device(device_, makedev(loop_major, number_), ours);
    const bool only_udev = std::all_of(users.begin(), users.end(), is_udev);
    if (!users.empty() && (!only_udev || waited > udev_limit)) {
        check_.reset();
        reply(fmt::format("used {}", fmt::join(users, ", ")));
        return;
    }
    if (!users.empty()) return;
    if (!check_->written_back) {
        check_->written_back = true;
        write_back();
    } else if (!writer_) {
        check_.reset();
        reply("unused");
    } else if (waited > write_back_limit) {
        check_.reset();
        reply(fmt::format("used the page cache of {}, whose write-back does not end", device_));
    }
}

int Helper::wait_ms() const {
    return check_ ? static_cast<int>(scan_pause.count()) : -1;
}

void Helper::drain_watch() {
    alignas(inotify_event) char events[4096];
    while (read(watch_.get(), events, sizeof events) > 0) {
    }
    write_back();
}

void Helper::write_back() {
    if (writer_) {
        write_back_again_ = true;
        return;
    }
    int read_only = 0;  // while Secondary: nothing can have been written
    if (ioctl(loop_.get(), BLKROGET, &read_only) == 0 && read_only != 0) return;
    const pid_t child = fork();
    if (child == 0) {
        close(loop_helper_channel);  // held open here it would hide our parent's end from the process
        _exit(fsync(loop_.get()) == 0 ? 0 : errno);
    }
    writer_pid_ = child;
    if (child > 0) writer_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
    if (!writer_) log(fmt::format("{} cannot be written back: {}", device_, strerrordesc_np(errno)));
}

void Helper::write_back_ended() {
    siginfo_t info{};
    waitid(P_PIDFD, static_cast<id_t>(writer_.get()), &info, WEXITED);
    writer_.close();
    writer_pid_ = 0;
    if (info.si_code == CLD_EXITED && info.si_status != 0)
        log(fmt::format("writing the page cache of {} back: {}", device_, strerrordesc_np(info.si_status)));
    if (std::exchange(write_back_again_, false)) write_back();
}

}  // namespace

bool is_loop_helper(int argc, char** argv) {
    return argc > 1 && std::string_view(argv[1]) == loop_helper_argument;
}

int loop_helper_main(int argc, char** argv) {
    if (argc != 4) return 2;
    prctl(PR_SET_NAME, "duplex-loop");
    // It ends when the process ends, whatever way that happens, and not before: a signal to the whole group
    // or unit must not take the device away from under a process that still finishes its requests.
    setsid();
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) signal(number, SIG_IGN);
    if (chdir("/") != 0) return 1;
    return Helper(argv[2], argv[3]).run();
}

}  // namespace duplex::exports::fuse
