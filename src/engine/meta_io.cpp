#include "engine/meta_io.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "engine/sabotage.hpp"
#include "meta/bitmap.hpp"

namespace duplex::engine {

namespace {

constexpr uint64_t staged_pages_max = 64;

}  // namespace

MetaBuffer::MetaBuffer(size_t size_bytes)
    : memory_(static_cast<uint8_t*>(std::aligned_alloc(4096, size_bytes))) {
    ensure(memory_ != nullptr);
}

void MetaBuffer::Free::operator()(uint8_t* memory) const {
    std::free(memory);
}

// Whoever holds a buffer; the next one waits for freed_.
class MetaIo::Lock {
  public:
    Lock(bool& busy, Event& freed) : busy_(&busy), freed_(&freed) { *busy_ = true; }
    ~Lock() {
        *busy_ = false;
        freed_->notify();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    bool* busy_;
    Event* freed_;
};

MetaIo::MetaIo(Executor& executor, Disk& meta_disk, Disk& data_disk, const meta::Layout& layout,
               const meta::Superblock& initial, uint32_t al_slots, uint32_t first_transaction)
    : superblock(initial),
      meta_disk_(meta_disk),
      data_disk_(data_disk),
      layout_(layout),
      al_writer_(layout.al, al_slots, first_transaction),
      block_(4096),
      pages_(staged_pages_max * meta::bitmap_page_bytes),
      freed_(executor),
      operation_ended_(executor) {}

// Shared by the one who waits for it and the disk, which may keep it for longer.
struct MetaIo::Operation final : DiskIo {
    explicit Operation(MetaIo& o) : owner(o) {}
    void completed(int result) override {
        done = true;
        error = result;
        ++owner.ended_;
        owner.operation_ended_.notify();
        const auto at = std::find_if(owner.operations_.begin(), owner.operations_.end(),
                                     [this](const auto& other) { return other.get() == this; });
        const std::shared_ptr<Operation> self = *at;
        owner.operations_.erase(at);
    }
    MetaIo& owner;
    bool done = false;
    int error = 0;
};

Task<int> MetaIo::run(Disk& disk, IoKind kind, Sector sector, uint32_t size_bytes, uint8_t* data, bool fua) {
    if (abandoned_) co_return EIO;
    const auto operation = std::make_shared<Operation>(*this);
    operation->kind = kind;
    operation->fua = fua;
    operation->sector = sector;
    operation->size_bytes = size_bytes;
    operation->data = data;
    operations_.push_back(operation);
    disk.submit(*operation);
    while (!operation->done && !abandoned_) {
        auto ended = operation_ended_.wait();
        co_await ended;
    }
    co_return operation->done ? operation->error : EIO;
}

void MetaIo::abandon() {
    abandoned_ = true;
    operation_ended_.notify();
    freed_.notify();
}

Task<int> MetaIo::write_block(Sector sector, bool flush_data_disk) {
    if (md_flushes_) {
        // R2, R5, R7: whatever completed before must be stable before this block says so.
        if (flush_data_disk && &data_disk_ != &meta_disk_) {
            Task<int> data_flushed = flush(data_disk_);
            const int error = co_await data_flushed;
            if (error) co_return error;
        }
        Task<int> flushed = flush(meta_disk_);
        const int error = co_await flushed;
        if (error) co_return error;
    }
    Task<int> written = run(meta_disk_, IoKind::write, sector, 4096, block_.data(), md_flushes_);
    co_return co_await written;
}

Task<int> MetaIo::write_superblock() {
    const uint64_t due = wanted_;
    while (durable_ < due) {
        // A page that is being written counts as clean already, but only our flush after its end makes it
        // stable (R5).
        if (block_busy_ || pages_busy_) {
            auto freed = freed_.wait();
            co_await freed;
            continue;
        }
        if (abandoned_) co_return EIO;  // the disk may still have the buffer
        Lock lock(block_busy_, freed_);
        const uint64_t writing = wanted_;
        const uint32_t flags = superblock.flags;
        encode(superblock, meta::SuperblockBytes(block_.data(), meta::superblock_bytes));
        // It may say that a resync has ended, or that this is no Primary any more: not before the data.
        Task<int> written = write_block(layout_.superblock, true);
        const int error = co_await written;
        if (error) co_return error;
        durable_ = std::max(durable_, writing);
        stable_flags_ = flags;
    }
    co_return 0;
}

Task<int> MetaIo::write_al_block(std::span<const meta::AlUpdate> updates, std::span<const uint32_t> labels,
                                 bool evicts) {
    while (block_busy_ || moving_) {
        auto freed = freed_.wait();
        co_await freed;
    }
    if (abandoned_) co_return EIO;
    Lock lock(block_busy_, freed_);
    al_writer_.build(updates, labels, meta::AlBlock(block_.data(), meta::al_block_bytes));
    Task<int> written = write_block(al_writer_.sector(layout_), evicts);
    const int error = co_await written;
    if (error) co_return error;
    al_writer_.written();
    ++al_writes_;
    co_return 0;
}

Task<int> MetaIo::write_al(const ActivityLog& log, Bitmap& bitmap) {
    std::array<meta::AlUpdate, meta::al_updates_max> updates;
    size_t count = 0;
    bool evicts = false;
    for (const ActivityLog::Change& change : log.changes()) {
        updates[count++] = {change.slot, change.new_label};
        if (change.old_label == meta::al_free_label) continue;
        evicts = true;
        const uint64_t page = meta::bitmap_page_of(AlExtent(change.old_label));
        if (page >= bitmap.pages() || !bitmap.page_dirty(page)) continue;
        Task<int> written = write_pages(bitmap, page, 1);
        const int error = co_await written;
        if (error) co_return error;
        ++bitmap_writes_;
    }
    // A page that somebody else is writing counts as clean already, but is not stable before that write has
    // ended.
    while (evicts && pages_busy_) {
        auto freed = freed_.wait();
        co_await freed;
    }
    const std::span<const meta::AlUpdate> changed(updates.data(), count);
    Task<int> written = write_al_block(changed, log.labels(), evicts);
    co_return co_await written;
}

Task<int> MetaIo::initialise_al(const ActivityLog& log) {
    const uint64_t blocks = layout_.al.blocks();
    for (uint64_t i = 0; i < blocks; ++i) {
        const std::span<const meta::AlUpdate> no_updates;
        Task<int> written = write_al_block(no_updates, log.labels(), false);
        const int error = co_await written;
        if (error) co_return error;
    }
    co_return 0;
}

Task<> MetaIo::move_to(const meta::Layout& layout) {
    ensure(!moving_);
    moving_ = true;
    while (block_busy_ || pages_busy_) {
        auto freed = freed_.wait();
        co_await freed;
    }
    layout_ = layout;
}

void MetaIo::restart_al(uint32_t al_slots) {
    ensure(moving_);
    al_writer_ = meta::AlWriter(layout_.al, al_slots, al_writer_.number());
}

void MetaIo::moved() {
    moving_ = false;
    freed_.notify();
}

Task<int> MetaIo::wipe(Sector old_superblock) {
    while (block_busy_) {
        auto freed = freed_.wait();
        co_await freed;
    }
    if (abandoned_) co_return EIO;
    Lock lock(block_busy_, freed_);
    std::fill_n(block_.data(), meta::superblock_bytes, uint8_t{0});
    Task<int> written = write_block(old_superblock, false);
    co_return co_await written;
}

Task<int> MetaIo::read_bitmap(Bitmap& bitmap) {
    while (pages_busy_) {
        auto freed = freed_.wait();
        co_await freed;
    }
    if (abandoned_) co_return EIO;
    Lock lock(pages_busy_, freed_);
    for (uint64_t first = 0; first < bitmap.pages(); first += staged_pages_max) {
        const uint64_t count = std::min(staged_pages_max, bitmap.pages() - first);
        Task<int> read = run(meta_disk_, IoKind::read, layout_.bitmap_page(first),
                             static_cast<uint32_t>(count * meta::bitmap_page_bytes), pages_.data(), false);
        const int error = co_await read;
        if (error) co_return error;
        for (uint64_t i = 0; i < count; ++i) {
            const meta::ConstBitmapPage page(pages_.data() + i * meta::bitmap_page_bytes,
                                             meta::bitmap_page_bytes);
            meta::load_bitmap_page(page, first + i, bitmap.words(), bitmap.bits());
            bitmap.mark_page_clean(first + i);
        }
    }
    bitmap.recount();
    co_return 0;
}

Task<int> MetaIo::write_pages(Bitmap& bitmap, uint64_t first, uint64_t count) {
    while (pages_busy_ || moving_) {
        auto freed = freed_.wait();
        co_await freed;
    }
    if (abandoned_) co_return EIO;
    Lock lock(pages_busy_, freed_);
    for (uint64_t i = 0; i < count; ++i) {
        bitmap.mark_page_clean(first + i);
        const meta::BitmapPage page(pages_.data() + i * meta::bitmap_page_bytes, meta::bitmap_page_bytes);
        meta::store_bitmap_page(bitmap.words(), first + i, bitmap.bits(), page);
    }
    // What a resync has cleared may not be in sync after a power failure, unless the block is stable first.
    if (md_flushes_ && bitmap.take_cleared() && !sabotage::stable_blocks) {
        Task<int> data_flushed = flush(data_disk_);
        const int failed = co_await data_flushed;
        if (failed) co_return failed;
    }
    Task<int> written = run(meta_disk_, IoKind::write, layout_.bitmap_page(first),
                            static_cast<uint32_t>(count * meta::bitmap_page_bytes), pages_.data(), false);
    const int error = co_await written;
    if (error) {
        for (uint64_t i = 0; i < count; ++i) bitmap.mark_page_dirty(first + i);
        co_return error;
    }
    co_return 0;
}

Task<int> MetaIo::write_bitmap(Bitmap& bitmap) {
    std::optional<uint64_t> page = bitmap.next_dirty_page(0);
    while (page) {
        uint64_t count = 1;
        while (count < staged_pages_max && *page + count < bitmap.pages() && bitmap.page_dirty(*page + count))
            ++count;
        Task<int> written = write_pages(bitmap, *page, count);
        const int error = co_await written;
        if (error) co_return error;
        page = bitmap.next_dirty_page(*page + count);
    }
    co_return 0;
}

}  // namespace duplex::engine
