// The process that holds a volume's loop device. Attaching a loop device, changing its size or its read-only
// flag, writing back its page cache and looking for its users all wait for the FUSE file behind it, so none
// of that may happen in the thread that serves the file.
//
// The loop device is configured with LO_FLAGS_AUTOCLEAR and the helper keeps it open: whatever way helper and
// process die, the kernel frees the device once its last user is gone. The helper ends when its channel is
// closed.
//
// Channel: a SOCK_SEQPACKET pair, one text message per packet. To the helper, one at a time: "size",
// "writable", "readonly", "check", "detach". Answers: "done", "failed WHY", and for check "unused" or "used
// WHO". The first answer, unasked, tells whether the device is attached. "log TEXT" may come at any time.
#pragma once

#include <cstddef>

namespace duplex::exports::fuse {

// The process starts itself again (/proc/self/exe) with these arguments: --loop-helper FUSE_FILE DEVICE.
// Every program that uses fuse::Export must begin its main() with:
//     if (is_loop_helper(argc, argv)) return loop_helper_main(argc, argv);
inline constexpr const char* loop_helper_argument = "--loop-helper";
inline constexpr int loop_helper_channel = 3;  // its descriptor of the channel
inline constexpr size_t loop_message_bytes_max = 4096;

bool is_loop_helper(int argc, char** argv);
int loop_helper_main(int argc, char** argv);

}  // namespace duplex::exports::fuse
