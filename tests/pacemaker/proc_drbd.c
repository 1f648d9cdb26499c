/* For the tests of the stock agent only: answers for /proc/drbd, which nothing in user space can make, with the text that Duplex
 * keeps at /run/duplex/proc/drbd, or with that of a node without resources. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char* file_for(const char* path) {
    if (path == NULL || strcmp(path, "/proc/drbd") != 0) return path;
    if (syscall(SYS_faccessat, AT_FDCWD, "/run/duplex/proc/drbd", R_OK) == 0) return "/run/duplex/proc/drbd";
    return "/run/proc-drbd-without-resources";
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int stat(const char* path, struct stat* buffer) { return NEXT(stat)(file_for(path), buffer); }
int stat64(const char* path, struct stat64* buffer) { return NEXT(stat64)(file_for(path), buffer); }
int lstat(const char* path, struct stat* buffer) { return NEXT(lstat)(file_for(path), buffer); }
int lstat64(const char* path, struct stat64* buffer) { return NEXT(lstat64)(file_for(path), buffer); }
int fstatat(int at, const char* path, struct stat* buffer, int flags) { return NEXT(fstatat)(at, file_for(path), buffer, flags); }
int fstatat64(int at, const char* path, struct stat64* buffer, int flags) {
    return NEXT(fstatat64)(at, file_for(path), buffer, flags);
}
int access(const char* path, int mode) { return NEXT(access)(file_for(path), mode); }
int faccessat(int at, const char* path, int mode, int flags) { return NEXT(faccessat)(at, file_for(path), mode, flags); }
FILE* fopen(const char* path, const char* mode) { return NEXT(fopen)(file_for(path), mode); }
FILE* fopen64(const char* path, const char* mode) { return NEXT(fopen64)(file_for(path), mode); }

static mode_t mode_of(int flags, va_list arguments) {
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                  \
    int name(const char* path, int flags, ...) {           \
        va_list arguments;                                 \
        va_start(arguments, flags);                        \
        mode_t mode = mode_of(flags, arguments);           \
        va_end(arguments);                                 \
        return NEXT(name)(file_for(path), flags, mode);    \
    }
#define DEFINE_OPENAT(name)                                 \
    int name(int at, const char* path, int flags, ...) {    \
        va_list arguments;                                  \
        va_start(arguments, flags);                         \
        mode_t mode = mode_of(flags, arguments);            \
        va_end(arguments);                                  \
        return NEXT(name)(at, file_for(path), flags, mode); \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)
