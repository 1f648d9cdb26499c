#include "control/reply_text.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace duplex::control {
namespace {

struct Text {
    int code;
    std::string_view text;
};

constexpr std::array texts = std::to_array<Text>({
    {102, "Local address(port) already in use."},
    {103, "Remote address(port) already in use."},
    {104, "Can not open backing device."},
    {105, "Can not open meta device."},
    {106, "Lower device already in use."},
    {107, "Lower device is not a block device."},
    {108, "Meta device is not a block device."},
    {109, "Open of lower device failed."},
    {110, "Open of meta device failed."},
    {111, "Low.dev. smaller than requested DRBD-dev. size."},
    {112, "Meta device too small."},
    {113, "You have to use the disk command first."},
    {114, "Lower device is already claimed. This usually means it is mounted."},
    {115, "Meta device is already claimed. This usually means it is mounted."},
    {116, "Lower device / meta device / index combination invalid."},
    {118, "IO error(s) occurred during initial access to meta-data.\n"},
    {119,
     "No valid meta-data signature found.\n\n\t==> Use 'drbdadm create-md res' to initialize meta-data area. "
     "<==\n"},
    {120,
     "The 'cram-hmac-alg' you specified is not known in the kernel. (Maybe you need to modprobe it, or "
     "modprobe hmac?)"},
    {121, "The 'cram-hmac-alg' you specified is not a digest."},
    {122, "kmalloc() failed. Out of memory?"},
    {123, "--discard-my-data not allowed when primary."},
    {124, "Device is attached to a disk (use detach first)"},
    {125, "Device has a net-config (use disconnect first)"},
    {126, "UnknownMandatoryTag"},
    {127, "Device minor not allocated"},
    {128, "Resulting device state would be invalid"},
    {129, "Interrupted by Signal"},
    {130, "Resize not allowed during resync."},
    {131, "Need one Primary node to resize."},
    {132, "The resync-after minor number is invalid"},
    {133, "This would cause a resync-after dependency cycle"},
    {134, "Sync-pause flag is already set"},
    {135, "Sync-pause flag is already cleared"},
    {136, "Disk state is lower than outdated"},
    {137, "Kernel does not know how to handle your request.\nMaybe API_VERSION mismatch?"},
    {138, "Device does not have a disk-config"},
    {139, "Protocol C required"},
    {140, "vmalloc() failed. Out of memory?"},
    {141,
     "The 'data-integrity-alg' you specified is not known in the kernel. (Maybe you need to modprobe it, or "
     "modprobe hmac?)"},
    {142, "The 'data-integrity-alg' you specified is not a digest."},
    {143, "Invalid cpu-mask."},
    {144, "CSUMSAlgNotAvail"},
    {145, "CSUMSAlgNotDigest"},
    {146, "VERIFYAlgNotAvail"},
    {147, "VERIFYAlgNotDigest"},
    {148, "Can not change csums-alg while resync is in progress"},
    {149, "Can not change verify-alg while online verify runs"},
    {150, "Can only attach to the data we lost last (see kernel log)."},
    {151, "Need to be StandAlone"},
    {152, "Permission denied. CAP_SYS_ADMIN necessary"},
    {153, "Protocol version 93 required to use --assume-clean"},
    {154, "Fencing policy resource-and-stonith only with prot B or C allowed"},
    {155, "on-congestion policy pull-ahead only with prot A allowed"},
    {156,
     "Sync-pause flag is already cleared.\nNote: Resync pause caused by a local resync-after dependency."},
    {157, "Sync-pause flag is already cleared.\nNote: Resync pause caused by the peer node."},
    {158, "Unknown resource"},
    {159, "Resource still in use (delete all minors first)"},
    {160, "Minor still configured (down it first)"},
    {161, "Minor or volume exists already (delete it first)"},
    {162, "Invalid configuration request"},
    {163, "Prot version 100 required in order to change\nthese network options while connected"},
    {164, "Can not clear allow_two_primaries as long as\nthere a primaries on both sides"},
    {165, "Unclean meta-data found.\nYou need to 'drbdadm apply-al res'\n"},
    {166, "DRBD need to be connected for online MD layout change\n"},
    {167, "Resulting AL area too big\n"},
    {168, "Resulting AL are too small\n"},
    {169, "Resulting AL does not fit into available meta data space\n"},
    {170, "Implicit device shrinking not allowed. See kernel log.\n"},
    {-1, "Multiple primaries not allowed by config"},
    {-2, "Need access to UpToDate data"},
    {-4, "Can not resync without local disk"},
    {-5, "Can not resync without remote disk"},
    {-6, "Refusing to be Outdated while Connected"},
    {-7, "Refusing to be Primary while peer is not outdated"},
    {-8, "Can not start OV/resync since it is already active"},
    {-9, "Can not disconnect a StandAlone device"},
    {-10, "State change was refused by peer node"},
    {-11, "Device is diskless, the requested operation requires a disk"},
    {-12, "Device is held open by someone"},
    {-13, "Have no net/connection configuration"},
    {-14, "Need a verify algorithm to start online verify"},
    {-15, "Need a connection to start verify or resync"},
    {-16, "Disk state is lower than outdated"},
    {-17, "Peer does not support protocol"},
    {-18, "In transient state, retry after next state change"},
    {-19, "Concurrent state changes detected and aborted"},
    {-20, "Other vol primary on peer not allowed by config"},
    {-21, "Need a connection for a graceful disconnect/outdate peer"},
});

constexpr bool is_success(int code) {
    return code == 101 || (code >= 1 && code <= 4);
}
constexpr bool is_failure(int code) {
    return code >= 102 && code <= 170;
}
constexpr bool is_state_failure(int code) {
    return code <= 0 && code >= -21;
}

}  // namespace

std::string_view text_of(int code) {
    const auto* const found = std::ranges::find(texts, code, &Text::code);
    return found == texts.end() ? std::string_view() : found->text;
}

int exit_status_of(int code) {
    if (is_success(code)) return 0;
    if (code == -2) return 17;
    if (code == -4) return 16;
    if (code == -16) return 5;
    if (is_failure(code)) return 10;
    if (is_state_failure(code)) return 11;
    return 20;
}

std::string message_of(std::string_view object, const engine::Reply& reply) {
    if (is_success(reply.code)) return {};
    std::string message;
    if (is_failure(reply.code)) {
        message = fmt::format("{}: Failure: ({}) {}\n", object, reply.code, text_of(reply.code));
    } else if (reply.code == 0) {
        message = fmt::format("{}: State change failed: (0)unknown error.\n", object);
    } else if (is_state_failure(reply.code)) {
        message = fmt::format("{}: State change failed: ({}) {}\n", object, reply.code, text_of(reply.code));
    } else {
        message = fmt::format("{}: Error code {} unknown.\nYou should update the drbd userland tools.\n",
                              object, reply.code);
    }
    if (!reply.info.empty()) message += fmt::format("additional info from kernel:\n{}\n", reply.info);
    return message;
}

}  // namespace duplex::control
