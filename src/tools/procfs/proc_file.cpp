#define FUSE_USE_VERSION 35

#include "tools/procfs/proc_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <memory>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "control/node.hpp"

namespace duplex::tool {
namespace {

using control::RunDir;

constexpr fuse_ino_t file_inode = 2;
constexpr const char* file_name = "drbd";
// For all processes together: a reader never waits longer, whatever hangs.
constexpr int answer_timeout_ms = 1000;

struct Closing {
    void operator()(fuse_session* session) const {
        fuse_session_unmount(session);
        fuse_session_destroy(session);
    }
};

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

// ---- the file system

struct FileSystem {
    const RunDir& run_dir;
    // What each opening of the file reads: made at its beginning, and again whenever it is read from there.
    std::map<uint64_t, std::string> opened;
    uint64_t next_handle = 1;
};

FileSystem& file_system_of(fuse_req_t request) {
    return *static_cast<FileSystem*>(fuse_req_userdata(request));
}

bool fill_attributes(fuse_ino_t inode, struct stat& attributes) {
    attributes = {};
    attributes.st_ino = inode;
    attributes.st_nlink = 1;
    // Size 0, as for the files of /proc: the text is made when it is read.
    attributes.st_mode = inode == file_inode ? S_IFREG | 0444 : S_IFDIR | 0555;
    return inode == file_inode || inode == FUSE_ROOT_ID;
}

void look_up(fuse_req_t request, fuse_ino_t parent, const char* name) {
    fuse_entry_param entry{};
    if (parent != FUSE_ROOT_ID || std::strcmp(name, file_name) != 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    entry.ino = file_inode;
    entry.attr_timeout = 3600;
    entry.entry_timeout = 3600;
    fill_attributes(file_inode, entry.attr);
    fuse_reply_entry(request, &entry);
}

void get_attributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    struct stat attributes {};
    if (fill_attributes(inode, attributes)) {
        fuse_reply_attr(request, &attributes, 3600);
    } else {
        fuse_reply_err(request, ENOENT);
    }
}

void read_directory(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
    if (inode != FUSE_ROOT_ID) {
        fuse_reply_err(request, ENOTDIR);
        return;
    }
    const std::array<std::pair<const char*, fuse_ino_t>, 3> entries{
        {{".", FUSE_ROOT_ID}, {"..", FUSE_ROOT_ID}, {file_name, file_inode}}};
    std::string bytes(size, '\0');
    size_t used = 0;
    for (size_t i = static_cast<size_t>(offset); i < entries.size(); ++i) {
        struct stat attributes {};
        fill_attributes(entries[i].second, attributes);
        const size_t length = fuse_add_direntry(request, bytes.data() + used, size - used, entries[i].first,
                                                &attributes, static_cast<off_t>(i + 1));
        if (length > size - used) break;
        used += length;
    }
    fuse_reply_buf(request, bytes.data(), used);
}

void open_file(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    if (inode != file_inode) {
        fuse_reply_err(request, EISDIR);
        return;
    }
    if ((info->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(request, EACCES);
        return;
    }
    FileSystem& files = file_system_of(request);
    info->direct_io = 1;  // no page cache between the reader and the text
    info->fh = files.next_handle++;
    files.opened[info->fh];
    if (fuse_reply_open(request, info) != 0) files.opened.erase(info->fh);
}

void release_file(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    file_system_of(request).opened.erase(info->fh);
    fuse_reply_err(request, 0);
}

void read_file(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
    FileSystem& files = file_system_of(request);
    std::string& text = files.opened[info->fh];
    if (offset == 0) text = control::proc_text_of(files.run_dir, answer_timeout_ms);
    const size_t begin = std::min(static_cast<size_t>(offset), text.size());
    fuse_reply_buf(request, text.data() + begin, std::min(size, text.size() - begin));
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops table{};
    table.lookup = look_up;
    table.getattr = get_attributes;
    table.readdir = read_directory;
    table.open = open_file;
    table.release = release_file;
    table.read = read_file;
    return table;
}

// ---- serving it

Result<std::unique_ptr<fuse_session, Closing>> mount(FileSystem& files) {
    const std::string path = files.run_dir.proc();
    // What a killed process left here answers nothing any more.
    while (umount2(path.c_str(), MNT_DETACH) == 0) {
    }
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
        return error("mkdir {}: {}", path, strerrordesc_np(errno));
    std::array<std::string, 3> words{"duplex", "-o", "fsname=duplex,ro,allow_other,default_permissions"};
    std::array<char*, 4> pointers{words[0].data(), words[1].data(), words[2].data(), nullptr};
    fuse_args arguments{3, pointers.data(), 0};
    const fuse_lowlevel_ops table = operations();
    std::unique_ptr<fuse_session, Closing> session(
        fuse_session_new(&arguments, &table, sizeof table, &files));
    fuse_opt_free_args(&arguments);
    if (!session) return error("no FUSE session for {}", path);
    if (fuse_session_mount(session.get(), path.c_str()) != 0) return error("cannot mount {}", path);
    return session;
}

bool has_resources(const RunDir& run_dir) {
    return !run_dir.resources().empty();
}

void drain(int inotify) {
    std::array<char, 4096> events;
    while (read(inotify, events.data(), events.size()) > 0) {
    }
}

// Until the last resource is gone, or somebody unmounts.
void serve(fuse_session* session, const RunDir& run_dir, int inotify) {
    fuse_buf buffer{};
    while (fuse_session_exited(session) == 0 && has_resources(run_dir)) {
        std::array<pollfd, 2> waiting{{{fuse_session_fd(session), POLLIN, 0}, {inotify, POLLIN, 0}}};
        if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) break;
        if (waiting[1].revents != 0) drain(inotify);
        if (waiting[0].revents == 0) continue;
        const int length = fuse_session_receive_buf(session, &buffer);
        if (length == -EINTR || length == -EAGAIN) continue;
        if (length <= 0) break;
        fuse_session_process_buf(session, &buffer);
    }
    std::free(buffer.mem);
}

}  // namespace

Status serve_proc_file(const RunDir& run_dir, const std::function<void()>& ready) {
    if (Status made = run_dir.make(); !made) return made;
    const std::string lock_path = run_dir.path() + "/procfs.lock";
    const Descriptor inotify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_add_watch(inotify.get(), run_dir.path().c_str(), IN_DELETE | IN_MOVED_FROM) < 0) {
        return error("cannot watch {}: {}", run_dir.path(), strerrordesc_np(errno));
    }
    // A resource that comes while the last one's end is being noticed finds the lock taken and relies on us:
    // so look again after giving it up.
    do {
        const Descriptor lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (lock.get() < 0) return error("open {}: {}", lock_path, strerrordesc_np(errno));
        if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
            ready();
            return Ok{};
        }
        FileSystem files{run_dir, {}, 1};
        auto session = mount(files);
        if (!session) return session.error();
        ready();
        serve(session->get(), run_dir, inotify.get());
        if (fuse_session_exited(session->get()) != 0) return Ok{};
    } while (has_resources(run_dir));
    return Ok{};
}

}  // namespace duplex::tool
