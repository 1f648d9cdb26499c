// Attach, detach, and a disk that fails (states 4, meta data 13 and 14).
#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

namespace {

std::optional<meta::MetaIndex> index_of(int meta_index) {
    if (meta_index == -1) return meta::MetaIndex::internal();
    if (meta_index == -2) return meta::MetaIndex::flexible();
    if (meta_index >= 0) return meta::MetaIndex::slot(static_cast<uint32_t>(meta_index));
    return std::nullopt;
}

StateChangeRequest disk_request(DiskState disk) {
    return {wire::state_bits::disk_mask, static_cast<uint32_t>(disk) << wire::state_bits::disk_shift};
}

}  // namespace

// ---- attach
// --------------------------------------------------------------------------------------------------------

Task<Reply> Device::attach(AttachCommand command) {
    if (disk || attaching_ || state_.disk != DiskState::diskless)
        co_return Reply{error_code::disk_configured, {}};
    const std::optional<meta::MetaIndex> index = index_of(command.meta_index);
    if (!index || index->is_internal() != (command.data_path == command.meta_path))
        co_return Reply{error_code::bad_meta_index, {}};
    if (stonith_with_protocol_a(command.options, core_.connection.options()))
        co_return Reply{error_code::stonith_and_protocol_a, {}};

    const Result<Disk*> data = core_.ports.host.open_disk(command.data_path, std::nullopt);
    if (!data) co_return Reply{error_code::open_disk, data.error().text};
    const Result<Disk*> meta =
        index->is_internal() ? data : core_.ports.host.open_disk(command.meta_path, index->slot_number());
    if (!meta) {
        core_.ports.host.close_disk(**data);
        co_return Reply{error_code::open_meta_disk, meta.error().text};
    }
    attaching_ = true;
    Task<Reply> read = read_meta_data(command, **data, **meta);
    Reply reply = co_await read;
    if (reply.ok()) {
        Task<Reply> taken = take_disk_over();
        reply = co_await taken;
    } else {
        close_disks(**data, **meta);
    }
    attaching_ = false;
    core_.notify();
    co_return reply;
}

void Device::close_disks(Disk& data, Disk& meta) {
    core_.ports.host.close_disk(data);
    if (&meta != &data) core_.ports.host.close_disk(meta);
}

// Up to the point of no return: success leaves the disk taken over and the state Attaching.
Task<Reply> Device::read_meta_data(const AttachCommand& command, Disk& data, Disk& meta) {
    const meta::MetaIndex index = *index_of(command.meta_index);
    const uint64_t meta_capacity = meta.limits().size_sectors;
    const Result<Sector> at = meta::superblock_sector(index, meta_capacity);
    if (!at) co_return Reply{error_code::meta_disk_too_small, at.error().text};

    MetaBuffer block(meta::superblock_bytes);
    AwaitedIo read(core_.executor, meta);
    read.kind = IoKind::read;
    read.sector = *at;
    read.size_bytes = meta::superblock_bytes;
    read.data = block.data();
    const int failed = co_await read;
    if (failed) co_return Reply{error_code::meta_io, fmt::format("reading the superblock: error {}", failed)};
    const meta::ConstSuperblockBytes bytes(block.data(), meta::superblock_bytes);
    const meta::AttachCheck check = meta::check_for_attach(bytes, index, meta_capacity);
    if (check.return_code != error_code::no_error) {
        log_line(LogLevel::error, check.text);
        co_return Reply{check.return_code, check.text};
    }
    const meta::Layout layout = meta::layout_of(check.superblock, index, *at);
    const uint64_t usable = meta::max_data_sectors(layout, data.limits().size_sectors);
    const Reply acceptable = check_meta_data(command, check.superblock, usable);
    if (!acceptable.ok()) co_return acceptable;

    Task<StateChangeResult> requested = request_state(disk_request(DiskState::attaching), true);
    const StateChangeResult attaching = co_await requested;
    if (!wire::is_success(attaching)) co_return Reply{static_cast<int>(attaching), {}};

    const uint32_t slots = meta::clamp_al_extents(command.options.al_extents, layout.al);
    disk = std::make_unique<LocalDisk>(core_.executor, data, meta, layout, check.superblock, slots, bitmap,
                                       [this](int error) { transaction_ended(error); });
    disk->data_path = command.data_path;
    disk->meta_path = command.meta_path;
    disk->meta_index = command.meta_index;
    disk->options = command.options;
    disk->usable_sectors = usable;
    disk->meta_capacity_sectors = meta_capacity;
    disk->meta_io.superblock.al_nr_extents = slots;
    disk->meta_io.set_md_flushes(command.options.md_flushes);
    disk->activation.set_updates(command.options.al_updates);
    co_return Reply{};
}

Reply Device::check_meta_data(const AttachCommand& command, const meta::Superblock& superblock,
                              uint64_t usable) const {
    if (command.options.size_sectors > usable)
        return {error_code::disk_too_small, fmt::format("size {} sectors is configured, {} are usable",
                                                        command.options.size_sectors, usable)};
    if (usable < size_sectors_)
        return {error_code::disk_too_small,
                fmt::format("the device has {} sectors, {} are usable", size_sectors_, usable)};
    const Reply current = check_current(superblock, state_.pdsk);
    if (!current.ok()) return current;
    const uint64_t new_size =
        meta::effective_size({command.options.size_sectors, usable, peer_disk_sectors,
                              superblock.la_size_sectors, state_.conn >= ConnState::connected, false})
            .size_sectors;
    if (superblock.has(meta::flag::consistent) && new_size < superblock.la_size_sectors &&
        new_size != command.options.size_sectors) {
        log(LogLevel::error, "refusing to truncate a consistent device ({} < {} sectors)", new_size,
            superblock.la_size_sectors);
        return {error_code::implicit_shrink, {}};
    }
    return {};
}

// Without the peer's good disk this one is all that the users of a Primary will see (I52, states 4.1).
Reply Device::check_current(const meta::Superblock& superblock, DiskState pdsk) const {
    const bool somebody_primary = state_.role == Role::primary || state_.peer == Role::primary;
    if (pdsk == DiskState::up_to_date || exposed_data_uuid == 0 || !somebody_primary ||
        same_generation(exposed_data_uuid, superblock.uuids[meta::uuid_current]))
        return {};
    log(LogLevel::error, "Can only attach to data with current UUID={:016X}", exposed_data_uuid);
    return {error_code::data_not_current, {}};
}

Task<Reply> Device::take_disk_over() {
    meta::Superblock& superblock = disk->meta_io.superblock;
    const uint32_t flags = superblock.flags;  // what the last time left; the steps below overwrite them
    disk->crashed_primary =
        (flags & meta::flag::crashed_primary) ||
        ((flags & meta::flag::primary_ind) && !(state_.role == Role::primary && core_.susp_nod));
    disk->degraded = (flags & meta::flag::primary_ind) && !(flags & meta::flag::connected_ind) &&
                     state_.conn < ConnState::connected;
    user_size_sectors_ = disk->options.size_sectors;
    const bool set_all =
        (flags & meta::flag::full_sync) || (disk->crashed_primary && (flags & meta::flag::al_disabled));

    DiskUse use(*this);
    const uint64_t new_size =
        meta::effective_size({user_size_sectors_, disk->usable_sectors, peer_disk_sectors,
                              superblock.la_size_sectors, state_.conn >= ConnState::connected, false})
            .size_sectors;
    disk->resync_after_negotiation = superblock.la_size_sectors != 0 && new_size > superblock.la_size_sectors;
    Task<int> loaded = load_bitmap(new_size);
    int error = co_await loaded;
    if (!error && set_all) {
        log(LogLevel::info, "Assuming that all blocks are out of sync (aka FullSync)");
        Task<int> set = set_all_and_write();
        error = co_await set;
    }
    if (error || state_.disk != DiskState::attaching) {
        meta_io_failed(error ? error : 5);
        co_return Reply{error_code::meta_io, fmt::format("reading or writing the bitmap: error {}", error)};
    }
    // Once more: the peer was there when this was looked at before, and may have been lost since. Its data
    // can be newer than this disk's, and nothing would compare the two before the disk is used.
    const Reply current = check_current(superblock, state_.pdsk);
    if (!current.ok()) {
        meta_io_failed(0);
        co_return current;
    }
    if (bitmap.set_bits() == bitmap.bits() && state_.conn < ConnState::connected) {
        log(LogLevel::info, "Suspended AL updates");
        disk->al_suspended = true;
    }
    const AttachedState entitled = state_at_attach(flags, disk->options.fencing, state_.pdsk);
    superblock.flags = disk->options.al_updates ? superblock.flags & ~meta::flag::al_disabled
                                                : superblock.flags | meta::flag::al_disabled;
    superblock.flags &= ~meta::flag::al_clean;
    superblock.magic = meta::magic_v08_unclean;
    UuidSet set = uuids();
    engine::set_current(set, set.current, state_.role);
    // As a promotion does without the peer: what a Primary writes from now on is a generation of its own, and
    // stable storage says so before the disk can be used. (The kernel leaves that out; a peer that was in
    // sync would take its data for these.)
    const bool alone = state_.role == Role::primary && state_.conn < ConnState::connected &&
                       entitled.disk == DiskState::up_to_date;
    own_generation = !(flags & meta::flag::connected_ind);
    if (alone) start_generation(set, new_generation_at_promotion(state_, set, false, own_generation));
    set_uuids(set);
    disk->meta_io.mark_dirty();
    if (alone) {
        Task<int> announced = write_superblock();
        error = co_await announced;
        if (error)
            co_return Reply{error_code::meta_io, fmt::format("writing the superblock: error {}", error)};
    }

    State wanted = state();
    StateChangeResult result;
    if (state_.conn == ConnState::connected) {
        disk->prepared = entitled;
        peer_uuids.reset();
        wanted.disk = DiskState::negotiating;
        result = change_state(wanted, ChangeKind::fact);
    } else {
        wanted.disk = entitled.disk;
        wanted.pdsk = entitled.pdsk;
        result = change_state(wanted, ChangeKind::wish);
    }
    if (!wire::is_success(result)) {
        meta_io_failed(0);
        co_return Reply{static_cast<int>(result), {}};
    }
    Task<int> written = write_superblock();
    error = co_await written;
    if (error) co_return Reply{error_code::meta_io, fmt::format("writing the superblock: error {}", error)};
    disk_timeout.restart();
    core_.notify();
    co_return Reply{};
}

// The old bitmap first, at its old size; then what is new is out of sync (meta data 13.1, deviation; D7).
Task<int> Device::load_bitmap(uint64_t new_size_sectors) {
    const uint64_t old_size = disk->meta_io.superblock.la_size_sectors;
    bitmap = Bitmap();
    bitmap.resize(old_size, false);
    if (old_size > 0) {
        Task<int> read = disk->meta_io.read_bitmap(bitmap);
        const int error = co_await read;
        if (error) co_return error;
        log(LogLevel::info, "bitmap has {} bits, {} set", bitmap.bits(), bitmap.set_bits());
    }
    if (new_size_sectors != old_size) {
        const NewArea same{disk->meta_io.layout(), disk->al.slots()};
        Task<int> changed = change_size(new_size_sectors, same, false);
        co_return co_await changed;
    }
    set_size(new_size_sectors);
    co_return 0;
}

void Device::set_size(uint64_t new_size_sectors) {
    if (new_size_sectors == size_sectors_) return;
    size_sectors_ = new_size_sectors;
    log(LogLevel::info, "size = {} MB ({} KB)", new_size_sectors >> 11, new_size_sectors >> 1);
    for (VolumeWatcher* watcher : watchers_) watcher->size_changed(new_size_sectors);
    core_.ports.host.changed(static_cast<int>(number_));
}

// ---- meta data
// -----------------------------------------------------------------------------------------------------

UuidSet Device::uuids() const {
    if (!disk) return {0, 0, {}};
    const auto& stored = disk->meta_io.superblock.uuids;
    return {stored[meta::uuid_current],
            stored[meta::uuid_bitmap],
            {stored[meta::uuid_history1], stored[meta::uuid_history2]}};
}

void Device::set_uuids(const UuidSet& set) {
    auto& stored = disk->meta_io.superblock.uuids;
    const uint64_t old_current = stored[meta::uuid_current];
    stored = {set.current, set.bitmap, set.history[0], set.history[1]};
    disk->meta_io.mark_dirty();
    // What is written to the meta data of another disk (at an attach, or as the target of a resync) is not
    // what users have seen; a new generation is.
    if (state_.disk == DiskState::up_to_date && set.current != old_current) exposed_data_uuid = set.current;
    core_.ports.host.changed(static_cast<int>(number_));
}

Task<int> Device::write_superblock() {
    if (!disk) co_return 0;
    DiskUse use(*this);
    // A superblock that no longer says Primary makes the activity log void: the bitmap comes first (R5).
    if (disk->meta_io.ends_primary() && bitmap.dirty_pages() > 0) {
        Task<int> bitmap_written = disk->meta_io.write_bitmap(bitmap);
        const int bitmap_error = co_await bitmap_written;
        if (bitmap_error) {
            meta_io_failed(bitmap_error);
            co_return bitmap_error;
        }
    }
    Task<int> written = disk->meta_io.write_superblock();
    const int error = co_await written;
    if (error) meta_io_failed(error);
    co_return error;
}

Task<int> Device::write_bitmap() {
    if (!disk) co_return 0;
    DiskUse use(*this);
    Task<int> written = disk->meta_io.write_bitmap(bitmap);
    const int error = co_await written;
    if (error) meta_io_failed(error);
    co_return error;
}

Task<int> Device::set_all_and_write() {
    DiskUse use(*this);
    MetaIo& io = disk->meta_io;
    io.superblock.flags |= meta::flag::full_sync;
    io.mark_dirty();
    Task<int> announced = io.write_superblock();
    int error = co_await announced;
    bitmap.set_all();
    if (!error) {
        Task<int> written = io.write_bitmap(bitmap);
        error = co_await written;
    }
    if (!error) {
        io.superblock.flags &= ~meta::flag::full_sync;
        io.mark_dirty();
        Task<int> settled = io.write_superblock();
        error = co_await settled;
    }
    if (error) meta_io_failed(error);
    co_return error;
}

Task<int> Device::clear_all_and_write() {
    disk->al_suspended = false;
    bitmap.clear_all();
    Task<int> written = write_bitmap();
    co_return co_await written;
}

Task<> Device::new_current_uuid_now() {
    UuidSet set = uuids();
    start_generation(set, NewGeneration::from_current);
    set_uuids(set);
    Task<int> written = write_superblock();
    const int error = co_await written;
    if (!error && state_.conn >= ConnState::connected) send_uuids();
}

void Device::set_out_of_sync(Sector sector, uint64_t size_bytes) {
    if (has_disk(DiskState::inconsistent)) bitmap.set_out_of_sync(sector, size_bytes);
}

void Device::set_in_sync(Sector sector, uint64_t size_bytes) {
    if (has_disk(DiskState::inconsistent)) bitmap.set_in_sync(sector, size_bytes);
}

// ---- detach and failure
// ---------------------------------------------------------------------------------------------

Task<Reply> Device::detach(bool force) {
    if (force) {
        if (!disk) co_return Reply{2, {}};
        // A disk that works gets its meta data written, behind the answer; one that hangs does not.
        constexpr uint64_t hangs_ms = 1000;
        const uint64_t now = core_.ports.clock.now_ms();
        const bool hangs = now - app.oldest_local_ms().value_or(now) >= hangs_ms;
        give_disk_up(hangs);
        co_return Reply{};
    }
    if (!disk) co_return Reply{2, {}};
    app.suspend();
    while (app.in_flight() > 0 && !core_.suspended()) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    Task<StateChangeResult> requested = request_state(wire::request_for(wire::StateChangeKind::detach), true);
    const StateChangeResult result = co_await requested;
    app.resume();
    while (state_.disk == DiskState::failed) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    co_return Reply{static_cast<int>(result), {}};
}

void Device::give_disk_up(bool hangs) {
    State wanted = state();
    wanted.disk = DiskState::failed;
    change_state(wanted, ChangeKind::fact);
    if (hangs) disk->meta_io.abandon();
    app.abandon_local();
    peer.abandon_local();
}

void Device::meta_io_failed(int error) {
    if (state_.disk <= DiskState::failed && state_.disk != DiskState::attaching) return;
    if (error) log(LogLevel::error, "meta data I/O failed with error {}: Detaching...", error);
    State wanted = state();
    wanted.disk = DiskState::failed;
    change_state(wanted, ChangeKind::fact);
}

void Device::data_io_failed(int error, bool read) {
    if (!disk || state_.disk <= DiskState::failed) return;
    const config::OnIoError policy = disk->options.on_io_error;
    State wanted = state();
    if (policy == config::OnIoError::pass_on) {
        log(LogLevel::error, "Local IO failed ({}, error {}).", read ? "read" : "write", error);
        if (state_.disk <= DiskState::inconsistent) return;
        // While it verifies, a disk counts as UpToDate (S6): not one that lacks a write. The peer hears of
        // the end first, because a kernel takes no other for it.
        if (!read && is_verify(state_.conn)) {
            wanted.conn = ConnState::connected;
            change_state(wanted, ChangeKind::fact);
        }
        wanted.disk = DiskState::inconsistent;
    } else {
        log(LogLevel::error, "Local IO failed ({}, error {}). Detaching...", read ? "read" : "write", error);
        wanted.disk = DiskState::failed;
    }
    change_state(wanted, ChangeKind::fact);
    if (policy == config::OnIoError::call_local_io_error)
        core_.ports.host.run_handler("local-io-error", static_cast<int>(minor_), [](int) {});
}

void Device::transaction_ended(int error) {
    if (error) meta_io_failed(error);
    core_.notify();
}

void Device::unuse_disk() {
    ensure(disk && disk->users > 0);
    if (--disk->users == 0) core_.notify();
}

// D17, D18: Failed until nobody uses the disk any more, then Diskless.
Task<> Device::disk_failed() {
    disk->activation.abandon();
    Task<> unused = disk_unused();
    co_await unused;
    // What cannot be written now is not known any more: errors end nothing that has not ended already.
    Task<int> bitmap_written = disk->meta_io.write_bitmap(bitmap);
    int error = co_await bitmap_written;
    if (!error) {
        disk->meta_io.mark_dirty();  // its flush makes the bitmap stable
        Task<int> superblock_written = disk->meta_io.write_superblock();
        error = co_await superblock_written;
    }
    if (error)
        log(LogLevel::warning, "could not write the meta data of the disk that is given up: error {}", error);
    Task<> still_unused = disk_unused();
    co_await still_unused;
    go_diskless();
}

Task<> Device::disk_unused() {
    while (disk->users > 0 || disk->activation.transaction_running() || !disk->meta_io.idle()) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
}

void Device::go_diskless() {
    State wanted = state();
    wanted.disk = DiskState::diskless;
    change_state(wanted, ChangeKind::fact);
    disk->activation.abandon();
    Disk& data = disk->data;
    Disk& meta = disk->meta;
    disk.reset();
    bitmap = Bitmap();
    close_disks(data, meta);
    core_.notify();
}

}  // namespace duplex::engine
