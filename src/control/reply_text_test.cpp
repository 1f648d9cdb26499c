#include "control/reply_text.hpp"

#include <gtest/gtest.h>

namespace duplex::control {
namespace {

TEST(ReplyText, MessagesAndExitStatuses) {
    struct Case {
        int code;
        const char* info;
        int status;
        const char* message;
    };
    for (const Case& c : {
             Case{101, "", 0, ""},
             Case{1, "", 0, ""},
             Case{2, "ignored", 0, ""},
             Case{4, "", 0, ""},
             Case{127, "unknown minor", 10,
                  "0: Failure: (127) Device minor not allocated\nadditional info from kernel:\nunknown "
                  "minor\n"},
             Case{119, "", 10,
                  "0: Failure: (119) No valid meta-data signature found.\n\n"
                  "\t==> Use 'drbdadm create-md res' to initialize meta-data area. <==\n\n"},
             Case{-2, "", 17, "0: State change failed: (-2) Need access to UpToDate data\n"},
             Case{-4, "", 16, "0: State change failed: (-4) Can not resync without local disk\n"},
             Case{-16, "", 5, "0: State change failed: (-16) Disk state is lower than outdated\n"},
             Case{-12, "", 11, "0: State change failed: (-12) Device is held open by someone\n"},
             Case{0, "", 11, "0: State change failed: (0)unknown error.\n"},
             Case{171, "", 20, "0: Error code 171 unknown.\nYou should update the drbd userland tools.\n"},
             Case{-22, "", 20, "0: Error code -22 unknown.\nYou should update the drbd userland tools.\n"},
         }) {
        EXPECT_EQ(exit_status_of(c.code), c.status) << c.code;
        EXPECT_EQ(message_of("0", engine::Reply{c.code, c.info}), c.message) << c.code;
    }
}

TEST(ReplyText, EveryCodeHasAText) {
    for (int code = 102; code <= 170; ++code) {
        EXPECT_EQ(text_of(code).empty(), code == 117) << code;
    }
    for (int code = -21; code < 0; ++code) {
        EXPECT_EQ(text_of(code).empty(), code == -3) << code;
    }
}

}  // namespace
}  // namespace duplex::control
