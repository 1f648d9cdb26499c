// The size of an attached device: what follows from both disks and the configured one, and how the meta data
// follow it (states 18, meta data 14).
#include <algorithm>
#include <cerrno>

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
    std::optional<meta::AlStriping> striping;
    if (command.al_stripes || command.al_stripe_size_kib) {
        const meta::AlStriping now = disk->meta_io.layout().al;
        striping = {command.al_stripes.value_or(now.stripes),
                    command.al_stripe_size_kib ? *command.al_stripe_size_kib / 4 : now.stripe_size_4k};
        const Reply acceptable = check_striping(*striping, command.assume_peer_has_space);
        if (!acceptable.ok()) co_return acceptable;
    }
    const uint64_t new_size = size_with(0, flags, striping).size_sectors;
    if (command.size_sectors == 0 && new_size < old_size) co_return Reply{error_code::implicit_shrink, {}};
    if (striping && command.size_sectors > new_size)
        co_return Reply{error_code::al_does_not_fit, fmt::format("{} sectors are left for data", new_size)};
    Task<int> determined = determine_size(command.size_sectors, flags, striping);
    const int error = co_await determined;
    if (error) co_return Reply{error_code::meta_io, fmt::format("error {}", error)};
    if (!disk || state_.conn != ConnState::connected) co_return Reply{};
    resize_pending_ = size_sectors_ > old_size && !command.assume_clean;
    send_uuids();
    send_sizes(true, flags);
    co_return Reply{};
}

// Meta data 14.2.
Reply Device::check_striping(const meta::AlStriping& striping, bool forced) const {
    if (striping.blocks() > meta::al_blocks_max) return {error_code::al_too_big, {}};
    if (striping.blocks() < meta::al_blocks_min) return {error_code::al_too_small, {}};
    if (state_.conn != ConnState::connected && !forced) return {error_code::al_needs_connection, {}};
    const meta::MetaIndex& index = disk->meta_io.layout().index;
    if (!index.is_internal() && !index.is_flexible() && !striping.is_default())
        return {error_code::meta_invalid, "indexed meta data have an activity log of 32 KiB in one piece"};
    const Result<meta::Layout> computed =
        meta::compute_layout(index, disk->meta.limits().size_sectors, striping);
    if (!computed) return {error_code::al_does_not_fit, computed.error().text};
    return {};
}

Status Device::look_at_sizes() {
    if (Status looked = disk->data.refresh_size(); !looked) return looked;
    return &disk->meta == &disk->data ? Status(Ok{}) : disk->meta.refresh_size();
}

// Where the meta data belong on a device of the size it has now; at the old place where the device has not
// grown.
meta::Layout Device::layout_now(const std::optional<meta::AlStriping>& striping) const {
    const meta::Layout& old_layout = disk->meta_io.layout();
    const uint64_t capacity = disk->meta.limits().size_sectors;
    const meta::AlStriping al = striping.value_or(old_layout.al);
    const bool follows = old_layout.index.is_internal() || old_layout.index.is_flexible();
    if (!follows || (capacity <= disk->meta_capacity_sectors && al == old_layout.al)) return old_layout;
    const Result<meta::Layout> computed = meta::compute_layout(old_layout.index, capacity, al);
    return computed ? *computed : old_layout;
}

// For data; what P_SIZES announces.
uint64_t Device::usable_now(const std::optional<meta::AlStriping>& striping) const {
    return meta::max_data_sectors(layout_now(striping), disk->data.limits().size_sectors);
}

Device::NewArea Device::area_now(const std::optional<meta::AlStriping>& striping) const {
    const meta::Layout layout = layout_now(striping);
    return {layout, meta::clamp_al_extents(disk->options.al_extents, layout.al)};
}

meta::EffectiveSize Device::size_with(uint64_t user_size_sectors, uint16_t flags,
                                      const std::optional<meta::AlStriping>& striping) const {
    return meta::effective_size(
        {user_size_sectors, usable_now(striping), peer_disk_sectors, disk->meta_io.superblock.la_size_sectors,
         state_.conn >= ConnState::connected, (flags & wire::Sizes::forced_resize) != 0});
}

Task<int> Device::determine_size(uint64_t user_size_sectors, uint16_t flags,
                                 std::optional<meta::AlStriping> striping) {
    if (user_size_sectors_ != user_size_sectors) core_.ports.host.changed(static_cast<int>(number_));
    user_size_sectors_ = disk->options.size_sectors = user_size_sectors;
    const meta::EffectiveSize size = size_with(user_size_sectors, flags, striping);
    const NewArea area = area_now(striping);
    if (size.configured_too_big)
        log(LogLevel::error, "Requested disk size is too big ({} > {} sectors)", user_size_sectors,
            size.size_sectors);
    disk->usable_sectors = usable_now(striping);
    const bool stays = area.layout == disk->meta_io.layout() && area.al_slots == disk->al.slots();
    if (stays && size.size_sectors == size_sectors_ &&
        size.size_sectors == disk->meta_io.superblock.la_size_sectors)
        co_return 0;
    Task<int> changed = change_quietly(size.size_sectors, area, (flags & wire::Sizes::no_resync) != 0);
    co_return co_await changed;
}

// The option al-extents of an attached disk.
Task<Reply> Device::change_al_slots() {
    if (!disk) co_return Reply{};
    const NewArea area{disk->meta_io.layout(), area_now().al_slots};
    if (area.al_slots == disk->al.slots()) co_return Reply{};
    Task<int> changed = change_quietly(size_sectors_, area, false);
    const int error = co_await changed;
    co_return error ? Reply{error_code::meta_io, fmt::format("error {}", error)} : Reply{};
}

// With nothing of the applications' under way at the disk; an error costs the disk. What is frozen ends with
// the next connection, and that has to know the size first.
Task<int> Device::change_quietly(uint64_t new_size_sectors, NewArea area, bool new_is_clean) {
    DiskUse use(*this);
    app.suspend();
    const auto busy = [this] {
        return core_.suspended() ? !app.quiet() || disk->al.changing() : app.in_flight() > 0;
    };
    while (busy()) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    Task<int> changed = change_size(new_size_sectors, area, new_is_clean);
    const int error = co_await changed;
    app.resume();
    if (error) meta_io_failed(error);
    co_return error;
}

// With a log of another size or place nothing of the old one may be in use: barrier acks are waited for.
Task<> Device::move_area(NewArea area) {
    MetaIo& io = disk->meta_io;
    const meta::Layout old_layout = io.layout();
    const bool same_log = area.layout.al == old_layout.al && area.al_slots == disk->al.slots();
    const auto log_is_free = [this] { return disk->al.used() == 0 && !disk->al.changing(); };
    for (;;) {
        while (!same_log && !log_is_free() && state_.disk > DiskState::failed) {
            auto woken = core_.changed.wait();
            co_await woken;
        }
        Task<> moving = io.move_to(area.layout);
        co_await moving;
        if (same_log) co_return;
        if (log_is_free()) break;
        io.move_back(old_layout);
        if (state_.disk <= DiskState::failed) co_return;
    }
    disk->al = ActivityLog(area.al_slots);
    io.restart_al(area.al_slots);
    io.superblock.al_nr_extents = area.al_slots;
}

// Meta data 14.1. FULL_SYNC stands on disk while AL and bitmap do not fit the superblock's size or place: a
// crash in between means a full sync, never a forgotten block.
Task<int> Device::change_size(uint64_t new_size_sectors, NewArea area, bool new_is_clean) {
    constexpr uint32_t announcing = meta::flag::full_sync | meta::flag::al_disabled;
    MetaIo& io = disk->meta_io;
    const meta::Layout old_layout = io.layout();
    const meta::Layout& layout = area.layout;
    const bool moves = !(layout == old_layout) || area.al_slots != disk->al.slots();
    const uint32_t flags = io.superblock.flags;
    if (moves) {
        Task<> moving = move_area(area);
        co_await moving;
        if (state_.disk <= DiskState::failed) {
            io.moved();
            co_return EIO;
        }
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
    if (!(layout == old_layout)) {
        disk->meta_capacity_sectors = disk->meta.limits().size_sectors;
        log(LogLevel::info, "moved the meta data");
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
