// The size of an attached device: what follows from both disks and the configured one, and how the meta data
// follow it (states 18, meta data 14).
#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

Task<Reply> Device::resize(ResizeCommand command) {
    if (!disk) co_return Reply{error_code::no_disk, {}};
    if (state_.conn > ConnState::connected) co_return Reply{error_code::resize_during_resync, {}};
    if (state_.role == Role::secondary && state_.peer == Role::secondary)
        co_return Reply{error_code::need_one_primary, {}};
    const uint64_t old_size = size_sectors_;
    const uint16_t flags =
        static_cast<uint16_t>((command.assume_peer_has_space ? wire::Sizes::forced_resize : 0) |
                              (command.assume_clean ? wire::Sizes::no_resync : 0));
    const Status looked = look_at_sizes();
    if (!looked) co_return Reply{error_code::open_disk, looked.error().text};
    if (command.size_sectors == 0 && size_with(0, flags).size_sectors < old_size)
        co_return Reply{error_code::implicit_shrink, {}};
    Task<int> determined = determine_size(command.size_sectors, flags);
    const int error = co_await determined;
    if (error) co_return Reply{error_code::meta_io, fmt::format("error {}", error)};
    if (!disk || state_.conn != ConnState::connected) co_return Reply{};
    resize_pending_ = size_sectors_ > old_size && !command.assume_clean;
    send_uuids();
    send_sizes(true, flags);
    co_return Reply{};
}

Status Device::look_at_sizes() {
    if (Status looked = disk->data.refresh_size(); !looked) return looked;
    return &disk->meta == &disk->data ? Status(Ok{}) : disk->meta.refresh_size();
}

// Where the meta data belong on a device of the size it has now; at the old place where the device has not
// grown.
meta::Layout Device::layout_now() const {
    const meta::Layout& old_layout = disk->meta_io.layout();
    const uint64_t capacity = disk->meta.limits().size_sectors;
    const bool follows = old_layout.index.is_internal() || old_layout.index.is_flexible();
    if (!follows || capacity <= disk->meta_capacity_sectors) return old_layout;
    const Result<meta::Layout> computed = meta::compute_layout(old_layout.index, capacity, old_layout.al);
    return computed ? *computed : old_layout;
}

// For data; what P_SIZES announces.
uint64_t Device::usable_now() const {
    return meta::max_data_sectors(layout_now(), disk->data.limits().size_sectors);
}

meta::EffectiveSize Device::size_with(uint64_t user_size_sectors, uint16_t flags) const {
    return meta::effective_size(
        {user_size_sectors, usable_now(), peer_disk_sectors, disk->meta_io.superblock.la_size_sectors,
         state_.conn >= ConnState::connected, (flags & wire::Sizes::forced_resize) != 0});
}

Task<int> Device::determine_size(uint64_t user_size_sectors, uint16_t flags) {
    if (user_size_sectors_ != user_size_sectors) core_.ports.host.changed(static_cast<int>(number_));
    user_size_sectors_ = disk->options.size_sectors = user_size_sectors;
    const meta::EffectiveSize size = size_with(user_size_sectors, flags);
    const meta::Layout layout = layout_now();
    if (size.configured_too_big)
        log(LogLevel::error, "Requested disk size is too big ({} > {} sectors)", user_size_sectors,
            size.size_sectors);
    disk->usable_sectors = usable_now();
    const bool stays = layout == disk->meta_io.layout();
    if (stays && size.size_sectors == size_sectors_ &&
        size.size_sectors == disk->meta_io.superblock.la_size_sectors)
        co_return 0;
    DiskUse use(*this);
    app.suspend();
    while (app.in_flight() > 0) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    Task<int> changed = change_size(size.size_sectors, layout, (flags & wire::Sizes::no_resync) != 0);
    const int error = co_await changed;
    app.resume();
    if (error) meta_io_failed(error);
    co_return error;
}

// Meta data 14.1. FULL_SYNC stands on disk while AL and bitmap do not fit the superblock's size or place: a
// crash in between means a full sync, never a forgotten block.
Task<int> Device::change_size(uint64_t new_size_sectors, meta::Layout layout, bool new_is_clean) {
    constexpr uint32_t announcing = meta::flag::full_sync | meta::flag::al_disabled;
    MetaIo& io = disk->meta_io;
    const meta::Layout old_layout = io.layout();
    const bool moves = !(layout == old_layout);
    const uint32_t flags = io.superblock.flags;
    if (moves) {
        Task<> moving = io.move_to(layout);
        co_await moving;
        meta::set_layout(io.superblock, layout);
    }
    bitmap.resize(new_size_sectors, new_is_clean);
    if (moves) bitmap.mark_all_dirty();
    io.superblock.la_size_sectors = new_size_sectors;
    io.superblock.flags |= announcing;
    io.superblock.flags &= ~meta::flag::al_clean;
    io.superblock.magic = meta::magic_v08_unclean;
    io.mark_dirty();
    Task<int> announced = io.write_superblock();
    int error = co_await announced;
    if (moves) io.moved();
    if (error) co_return error;
    Task<int> initialised = io.initialise_al(disk->al);
    error = co_await initialised;
    if (error) co_return error;
    Task<int> bitmap_written = io.write_bitmap(bitmap);
    error = co_await bitmap_written;
    if (error) co_return error;
    io.superblock.flags = (io.superblock.flags & ~announcing) | (flags & announcing);
    io.mark_dirty();
    Task<int> settled = io.write_superblock();
    error = co_await settled;
    if (error) co_return error;
    if (moves) {
        disk->meta_capacity_sectors = disk->meta.limits().size_sectors;
        log(LogLevel::info, "moved the meta data to the new end of the device");
    }
    // It would be data from now on, and found again if the device were made smaller.
    const bool outside = old_layout.superblock.value < layout.area_first().value ||
                         old_layout.superblock.value >= layout.area_first().value + layout.md_size_sectors;
    if (moves && outside) {
        Task<int> wiped = io.wipe(old_layout.superblock);
        error = co_await wiped;
    }
    set_size(new_size_sectors);
    co_return error;
}

// The new area is dirty on both sides; the Primary, or else the resolver, is its source (states 18.3).
void Device::resync_new_area() {
    const bool source =
        state_.role != state_.peer ? state_.role == Role::primary : core_.connection.resolver();
    if (source) {
        core_.tasks.add(resync.start(false));
        return;
    }
    State wanted = state();
    wanted.conn = ConnState::wf_sync_uuid;
    change_state(wanted, ChangeKind::wish);
}

}  // namespace duplex::engine
