#include "runtime/disk.hpp"

#include <algorithm>
#include <cerrno>
#include <linux/falloc.h>
#include <linux/fs.h>

#include "base/ensure.hpp"
#include "base/units.hpp"

namespace duplex::runtime {

using engine::DiskIo;
using engine::IoKind;

namespace {

// What zeroes are written from where the device has no better way.
constexpr uint32_t zeroes_bytes = 256u << 10;
alignas(4096) uint8_t zeroes[zeroes_bytes];

uint64_t offset_of(const DiskIo& io) {
    return io.sector.value * sector_bytes;
}

}  // namespace

Result<Disk*> Disk::open(Loop& loop, const std::string& path, std::optional<uint32_t> slot) {
    Result<OpenedDevice> device = open_device(path, slot);
    if (!device) return device.error();
    return new Disk(loop, path, std::move(*device));
}

Disk::Disk(Loop& loop, std::string path, OpenedDevice device)
    : loop_(&loop), path_(std::move(path)), device_(std::move(device)), slots_(in_flight_max) {
    for (size_t i = 0; i < slots_.capacity(); ++i) slots_.at(i)->disk = this;
}

Status Disk::refresh_size() {
    const Result<uint64_t> sectors = device_sectors(device_, path_);
    if (!sectors) return sectors.error();
    device_.limits.size_sectors = *sectors;
    return Ok{};
}

void Disk::close() {
    ensure(!closing_);
    closing_ = true;
    if (idle()) delete this;
}

// ---- starting
// ---------------------------------------------------------------------------------------------------------

void Disk::check(const DiskIo& io) const {
    if (io.kind == IoKind::flush) return;
    ensure(io.size_bytes > 0 && io.size_bytes % sector_bytes == 0);
    ensure(io.sector.value <= device_.limits.size_sectors &&
           io.size_bytes / sector_bytes <= device_.limits.size_sectors - io.sector.value);
    if (io.kind != IoKind::read && io.kind != IoKind::write) return;
    ensure(io.data && reinterpret_cast<uintptr_t>(io.data) % device_.limits.logical_block_bytes == 0);
}

void Disk::submit(DiskIo& io) {
    ensure(!closing_);
    check(io);
    if (slots_.available() == 0)
        waiting_.push_back(io);
    else
        start(io);
}

void Disk::start(DiskIo& io) {
    Slot* slot = slots_.take();
    ensure(slot != nullptr);
    slot->io = &io;
    slot->done_bytes = 0;
    slot->way = first_way(io);
    go_on(*slot);
}

void Disk::go_on(Slot& slot) {
    switch (slot.io->kind) {
        case IoKind::read:
        case IoKind::write:
            return transfer(slot);
        case IoKind::flush:
            return io_uring_prep_fsync(&loop_->prepare(slot), device_.fd.get(), IORING_FSYNC_DATASYNC);
        case IoKind::discard:
        case IoKind::write_zeroes:
            break;
    }
    switch (slot.way) {
        case Way::discard_command:
            return discard(slot);
        case Way::punch_hole:
            return fallocate(slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
        case Way::zero_range:
            return fallocate(slot, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
        case Way::write_zeroes:
            return write_zeroes(slot);
    }
}

void Disk::transfer(Slot& slot) {
    const DiskIo& io = *slot.io;
    const int index = loop_->registered_index(io.data, io.size_bytes);
    uint8_t* const data = io.data + slot.done_bytes;
    const uint32_t left_bytes = io.size_bytes - slot.done_bytes;
    const uint64_t offset = offset_of(io) + slot.done_bytes;
    io_uring_sqe& entry = loop_->prepare(slot);
    if (io.kind == IoKind::read) {
        if (index >= 0)
            io_uring_prep_read_fixed(&entry, device_.fd.get(), data, left_bytes, offset, index);
        else
            io_uring_prep_read(&entry, device_.fd.get(), data, left_bytes, offset);
        return;
    }
    if (index >= 0)
        io_uring_prep_write_fixed(&entry, device_.fd.get(), data, left_bytes, offset, index);
    else
        io_uring_prep_write(&entry, device_.fd.get(), data, left_bytes, offset);
    if (io.fua) entry.rw_flags = RWF_DSYNC;
}

void Disk::write_zeroes(Slot& slot) {
    const uint32_t bytes = std::min(slot.io->size_bytes - slot.done_bytes, zeroes_bytes);
    io_uring_prep_write(&loop_->prepare(slot), device_.fd.get(), zeroes, bytes,
                        offset_of(*slot.io) + slot.done_bytes);
}

void Disk::discard(Slot& slot) {
    io_uring_sqe& entry = loop_->prepare(slot);
    io_uring_prep_rw(IORING_OP_URING_CMD, &entry, device_.fd.get(), nullptr, 0, 0);
    entry.cmd_op = discard_command_code;
    entry.addr = offset_of(*slot.io);
    entry.addr3 = slot.io->size_bytes;
}

void Disk::fallocate(Slot& slot, int mode) {
    io_uring_prep_fallocate(&loop_->prepare(slot), device_.fd.get(), mode,
                            static_cast<off_t>(offset_of(*slot.io)), slot.io->size_bytes);
}

// A discard has one way: what it cannot do is an error. Zeroes can always be written somehow.
Disk::Way Disk::first_way(const DiskIo& io) const {
    if (io.kind == IoKind::discard) return device_.discard_command ? Way::discard_command : Way::punch_hole;
    if (io.may_unmap && can_punch_) return Way::punch_hole;
    return can_zero_range_ ? Way::zero_range : Way::write_zeroes;
}

bool Disk::next_way(Slot& slot) {
    if (slot.io->kind != IoKind::write_zeroes) return false;
    if (slot.way == Way::punch_hole) {
        can_punch_ = false;
        slot.way = can_zero_range_ ? Way::zero_range : Way::write_zeroes;
        return true;
    }
    if (slot.way == Way::zero_range) {
        can_zero_range_ = false;
        slot.way = Way::write_zeroes;
        return true;
    }
    return false;
}

// ---- finishing
// --------------------------------------------------------------------------------------------------------

bool Disk::moves_bytes(const Slot& slot) const {
    const IoKind kind = slot.io->kind;
    return kind == IoKind::read || kind == IoKind::write ||
           (kind == IoKind::write_zeroes && slot.way == Way::write_zeroes);
}

void Disk::finished(Slot& slot, int result) {
    if (result == -EINTR) return go_on(slot);
    if (result == -EOPNOTSUPP && next_way(slot)) return go_on(slot);
    if (result < 0 || !moves_bytes(slot)) return give_back(slot, result < 0 ? -result : 0);
    // Nothing moved: the end of a device that is shorter than it was when it was opened.
    if (result == 0) return give_back(slot, EIO);
    slot.done_bytes += static_cast<uint32_t>(result);
    ensure(slot.done_bytes <= slot.io->size_bytes);
    if (slot.done_bytes < slot.io->size_bytes) return go_on(slot);
    give_back(slot, 0);
}

void Disk::give_back(Slot& slot, int error) {
    DiskIo& io = *slot.io;
    slot.io = nullptr;
    slots_.give(&slot);
    if (!waiting_.empty()) start(waiting_.pop_front());
    // completed() may close() the disk and so destroy it, if it was not closing before.
    const bool last = closing_ && idle();
    io.completed(error);
    if (last) delete this;
}

}  // namespace duplex::runtime
