#include "exports/nbd/protocol.hpp"

#include <cerrno>

namespace duplex::exports::nbd {

WireError wire_error_of(int error_number) {
    switch (error_number) {
        case 0:
            return WireError::none;
        case EPERM:
        case EACCES:
        case EROFS:
        case EMEDIUMTYPE:
            return WireError::permission;
        case ENOMEM:
            return WireError::no_memory;
        case EINVAL:
            return WireError::invalid;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            return WireError::no_space;
        case EOVERFLOW:
            return WireError::overflow;
        case EOPNOTSUPP:
            return WireError::not_supported;
        case ESHUTDOWN:
            return WireError::shutdown;
        default:
            return WireError::io;
    }
}

std::string_view name_of(Command command) {
    switch (command) {
        case Command::read:
            return "read";
        case Command::write:
            return "write";
        case Command::disconnect:
            return "disconnect";
        case Command::flush:
            return "flush";
        case Command::trim:
            return "trim";
        case Command::cache:
            return "cache";
        case Command::write_zeroes:
            return "write-zeroes";
        case Command::block_status:
            return "block-status";
    }
    return "unknown command";
}

}  // namespace duplex::exports::nbd
