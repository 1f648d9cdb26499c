#include "runtime/disk.hpp"

#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <vector>

#include "base/random.hpp"
#include "base/units.hpp"
#include "runtime/host.hpp"
#include "runtime/test_loop.hpp"

namespace duplex::runtime {
namespace {

using engine::IoKind;

constexpr uint64_t disk_bytes = 16u << 20;
constexpr uint64_t mib_sectors = 2048;

class Io final : public engine::DiskIo {
  public:
    void completed(int result) override {
        error = result;
        if (on_completed) on_completed();
    }
    int error = -1;  // -1: not completed
    std::function<void()> on_completed;
};

void make_file(const std::string& path, uint64_t bytes) {
    std::ofstream(path).put(0);
    std::filesystem::resize_file(path, bytes);
}

// A loop device on a file of its own; needs root.
class LoopDevice {
  public:
    explicit LoopDevice(const std::string& file) {
        Fd backing(::open(file.c_str(), O_RDWR | O_CLOEXEC));
        Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
        for (int tries = 0; backing && control && tries < 50; ++tries) {
            const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
            if (number < 0) return;
            path = "/dev/loop" + std::to_string(number);
            fd_ = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
            loop_config config{};
            config.fd = static_cast<__u32>(backing.get());
            config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
            if (fd_ && ioctl(fd_.get(), LOOP_CONFIGURE, &config) == 0) return;
            fd_.close();
            path.clear();
        }
    }
    std::string path;  // empty: could not be made

  private:
    Fd fd_;  // the device goes away with its last opener
};

class DiskTest : public LoopTest, public testing::WithParamInterface<const char*> {
  protected:
    DiskTest() : pool(8u << 20) {
        if (const Status registered = loop->register_buffers(pool); !registered)
            ADD_FAILURE() << registered.error().text;
    }
    void SetUp() override {
        file = folder.file("disk");
        make_file(file, disk_bytes);
        path = file;
        if (std::string(GetParam()) == "loop") {
            device = std::make_unique<LoopDevice>(file);
            if (device->path.empty()) GTEST_SKIP() << "cannot make a loop device (not root?)";
            path = device->path;
        }
        const Result<Disk*> opened = Disk::open(*loop, path);
        ASSERT_TRUE(opened) << opened.error().text;
        disk = *opened;
    }
    void TearDown() override {
        if (disk) disk->close();
        loop->drain();
    }

    int run(Io& io) {
        io.error = -1;
        disk->submit(io);
        EXPECT_EQ(io.error, -1) << "completed from inside the call";
        EXPECT_TRUE(turn_until([&] { return io.error != -1; }));
        return io.error;
    }
    int run(IoKind kind, uint64_t sector, uint32_t size_bytes, uint8_t* data = nullptr, bool flag = false) {
        Io io;
        io.kind = kind;
        io.sector = Sector(sector);
        io.size_bytes = size_bytes;
        io.data = data;
        io.fua = io.may_unmap = flag;
        return run(io);
    }
    uint64_t allocated_bytes() const {
        struct stat status {};
        ensure(stat(file.c_str(), &status) == 0);
        return static_cast<uint64_t>(status.st_blocks) * 512;
    }

    TestFolder folder;
    std::string file, path;
    BufferPool pool;
    std::unique_ptr<LoopDevice> device;
    Disk* disk = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Devices, DiskTest, testing::Values("file", "loop"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_P(DiskTest, TellsItsLimits) {
    const engine::DiskLimits& limits = disk->limits();
    EXPECT_EQ(limits.size_sectors, disk_bytes / 512);
    EXPECT_TRUE(limits.logical_block_bytes == 512 || limits.logical_block_bytes == 4096);
    EXPECT_GE(limits.physical_block_bytes, limits.logical_block_bytes);
    EXPECT_TRUE(limits.can_discard);
    EXPECT_GT(limits.discard_granularity_bytes, 0u);
}

// The same bytes through registered and through ordinary buffers, and on the file below after a flush.
TEST_P(DiskTest, WritesAndReadsAtRandomPlaces) {
    Random random(1);
    std::vector<uint8_t> expected(disk_bytes);
    uint8_t* const registered = pool.take(1u << 20);
    std::unique_ptr<uint8_t, void (*)(void*)> ordinary(
        static_cast<uint8_t*>(std::aligned_alloc(4096, 1u << 20)), std::free);
    for (int i = 0; i < 200; ++i) {
        uint8_t* const data = random.chance(50) ? registered : ordinary.get();
        const auto size_bytes = static_cast<uint32_t>(4096 * random.between(1, 256));
        const uint64_t offset = 4096 * random.below((disk_bytes - size_bytes) / 4096 + 1);
        const auto value = static_cast<uint8_t>(random.next());
        std::memset(data, value, size_bytes);
        std::memset(expected.data() + offset, value, size_bytes);
        ASSERT_EQ(run(IoKind::write, offset / 512, size_bytes, data, random.chance(20)), 0);
    }
    for (uint64_t offset = 0; offset < disk_bytes; offset += 1u << 20) {
        uint8_t* const data = random.chance(50) ? registered : ordinary.get();
        ASSERT_EQ(run(IoKind::read, offset / 512, 1u << 20, data), 0);
        ASSERT_EQ(std::memcmp(data, expected.data() + offset, 1u << 20), 0) << "at " << offset;
    }
    ASSERT_EQ(run(IoKind::flush, 0, 0), 0);
    std::ifstream below(file, std::ios::binary);
    std::vector<uint8_t> content(disk_bytes);
    below.read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(disk_bytes));
    EXPECT_EQ(content, expected);
    pool.give(registered, 1u << 20);
}

TEST_P(DiskTest, KeepsMoreOperationsThanItSubmits) {
    constexpr uint64_t count = 1500;
    uint8_t* const data = pool.take(4096);
    std::memset(data, 0x5a, 4096);
    std::vector<Io> operations(count);
    uint64_t completed = 0;
    for (uint64_t i = 0; i < count; ++i) {
        operations[i].kind = i % 100 == 99 ? IoKind::flush : IoKind::write;
        operations[i].sector = Sector(8 * i);
        operations[i].size_bytes = operations[i].kind == IoKind::flush ? 0 : 4096;
        operations[i].data = data;
        operations[i].on_completed = [&] { ++completed; };
        disk->submit(operations[i]);
    }
    EXPECT_EQ(disk->in_flight() + disk->waiting(), count);
    EXPECT_GT(disk->waiting(), 1000u);
    ASSERT_TRUE(turn_until([&] { return completed == count; }));
    for (const Io& io : operations) ASSERT_EQ(io.error, 0);
    pool.give(data, 4096);
}

TEST_P(DiskTest, ClosingWaitsForWhatIsInFlight) {
    uint8_t* const data = pool.take(1u << 20);
    std::vector<Io> operations(400);
    int completed = 0;
    for (size_t i = 0; i < operations.size(); ++i) {
        operations[i].kind = IoKind::write;
        operations[i].sector = Sector(i % 8 * mib_sectors);
        operations[i].size_bytes = 1u << 20;
        operations[i].data = data;
        operations[i].on_completed = [&] { ++completed; };
        disk->submit(operations[i]);
    }
    disk->close();
    disk = nullptr;
    loop->drain();
    EXPECT_EQ(completed, 400);
    const Result<Disk*> again = Disk::open(*loop, path);
    ASSERT_TRUE(again) << again.error().text;
    (*again)->close();
    pool.give(data, 1u << 20);
}

TEST_P(DiskTest, MayBeClosedFromACompletion) {
    Io io;
    io.kind = IoKind::flush;
    io.on_completed = [&] {
        disk->close();
        disk = nullptr;
    };
    disk->submit(io);
    ASSERT_TRUE(turn_until([&] { return io.error != -1; }));
    const Result<Disk*> again = Disk::open(*loop, path);
    ASSERT_TRUE(again) << again.error().text;
    (*again)->close();
}

TEST_P(DiskTest, DiscardGivesSpaceBack) {
    uint8_t* const data = pool.take(1u << 20);
    std::memset(data, 0xff, 1u << 20);
    for (uint64_t mib = 0; mib < 16; ++mib)
        ASSERT_EQ(run(IoKind::write, mib * mib_sectors, 1u << 20, data), 0);
    ASSERT_EQ(run(IoKind::flush, 0, 0), 0);
    ASSERT_GE(allocated_bytes(), disk_bytes);
    ASSERT_EQ(run(IoKind::discard, mib_sectors, 8u << 20), 0);
    ASSERT_EQ(run(IoKind::flush, 0, 0), 0);
    EXPECT_LE(allocated_bytes(), disk_bytes - (8u << 20));
    ASSERT_EQ(run(IoKind::read, 0, 1u << 20, data), 0);
    EXPECT_EQ(data[(1u << 20) - 1], 0xff);
    pool.give(data, 1u << 20);
}

TEST_P(DiskTest, ZeroesReadAsZeroesAndStayAllocatedUnlessAllowed) {
    uint8_t* const data = pool.take(1u << 20);
    for (const bool may_unmap : {false, true}) {
        std::memset(data, 0xff, 1u << 20);
        for (uint64_t mib = 0; mib < 16; ++mib)
            ASSERT_EQ(run(IoKind::write, mib * mib_sectors, 1u << 20, data), 0);
        ASSERT_EQ(run(IoKind::write_zeroes, 8, (4u << 20) + 4096, nullptr, may_unmap), 0);
        ASSERT_EQ(run(IoKind::flush, 0, 0), 0);
        if (!may_unmap)
            EXPECT_GE(allocated_bytes(), disk_bytes);
        else
            EXPECT_LT(allocated_bytes(), disk_bytes - (3u << 20));
        ASSERT_EQ(run(IoKind::read, 0, 1u << 20, data), 0);
        EXPECT_EQ(data[4095], 0xff);
        EXPECT_EQ(data[4096], 0);
        EXPECT_EQ(data[(1u << 20) - 1], 0);
        ASSERT_EQ(run(IoKind::read, 4 * mib_sectors, 1u << 20, data), 0);
        EXPECT_EQ(data[8191], 0);
        EXPECT_EQ(data[8192], 0xff);
    }
    pool.give(data, 1u << 20);
}

TEST_P(DiskTest, IsOpenedExclusively) {
    const Result<Disk*> second = Disk::open(*loop, path);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().text.find(path), std::string::npos) << second.error().text;
    EXPECT_NE(second.error().text.find("in use"), std::string::npos) << second.error().text;
}

TEST_P(DiskTest, SlotsAreSharedAndEachHasOneOwner) {
    EXPECT_FALSE(open_device(path, 0));
    disk->close();
    disk = nullptr;
    loop->drain();
    const Result<OpenedDevice> first = open_device(path, 0);
    ASSERT_TRUE(first) << first.error().text;
    const Result<OpenedDevice> second = open_device(path, 1);
    ASSERT_TRUE(second) << second.error().text;
    const Result<OpenedDevice> same = open_device(path, 1);
    ASSERT_FALSE(same);
    EXPECT_EQ(same.error().text, "cannot lock slot 1 of " + path + ": in use by another process");
    const Result<OpenedDevice> alone = open_device(path, std::nullopt);
    ASSERT_FALSE(alone);
    EXPECT_EQ(alone.error().text, "cannot lock " + path + ": in use by another process");
}

using FileTest = LoopTest;

TEST_F(FileTest, SlotsOfADeviceThatSomebodyClaimedAreRefused) {
    TestFolder folder;
    make_file(folder.file("disk"), 1u << 20);
    const LoopDevice device(folder.file("disk"));
    if (device.path.empty()) GTEST_SKIP() << "cannot make a loop device (not root?)";
    const Fd owner(::open(device.path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));  // as a mount would
    ASSERT_TRUE(owner);
    const Result<OpenedDevice> slot = open_device(device.path, 0);
    ASSERT_FALSE(slot);
    EXPECT_NE(slot.error().text.find("in use (mounted"), std::string::npos) << slot.error().text;
}

TEST_F(FileTest, ADeviceThatShrankGivesAnErrorNotSilence) {
    TestFolder folder;
    make_file(folder.file("disk"), 1u << 20);
    const Result<Disk*> disk = Disk::open(*loop, folder.file("disk"));
    ASSERT_TRUE(disk) << disk.error().text;
    std::filesystem::resize_file(folder.file("disk"), 512u << 10);
    const std::unique_ptr<uint8_t, void (*)(void*)> data(
        static_cast<uint8_t*>(std::aligned_alloc(4096, 1u << 20)), std::free);
    Io io;
    io.size_bytes = 1u << 20;
    io.data = data.get();
    (*disk)->submit(io);
    ASSERT_TRUE(turn_until([&] { return io.error != -1; }));
    EXPECT_EQ(io.error, EIO);
    ASSERT_TRUE((*disk)->refresh_size());
    EXPECT_EQ((*disk)->limits().size_sectors, 1024u);
    (*disk)->close();
}

TEST_F(FileTest, AFileSystemWithoutDirectIoOrZeroRangeStillWorks) {
    struct statfs status {};
    if (statfs("/dev/shm", &status) != 0 || status.f_type != 0x01021994)
        GTEST_SKIP() << "no tmpfs at /dev/shm";
    const std::string path = "/dev/shm/duplex-test-" + std::to_string(getpid());
    make_file(path, 4u << 20);
    const Result<Disk*> disk = Disk::open(*loop, path);
    ASSERT_TRUE(disk) << disk.error().text;
    std::unique_ptr<uint8_t, void (*)(void*)> data(static_cast<uint8_t*>(std::aligned_alloc(4096, 1u << 20)),
                                                   std::free);
    const auto run = [&](IoKind kind, uint64_t sector, uint32_t size_bytes) {
        Io io;
        io.kind = kind;
        io.sector = Sector(sector);
        io.size_bytes = size_bytes;
        io.data = data.get();
        (*disk)->submit(io);
        EXPECT_TRUE(turn_until([&] { return io.error != -1; }));
        return io.error;
    };
    std::memset(data.get(), 0x77, 1u << 20);
    for (uint64_t mib = 0; mib < 4; ++mib) ASSERT_EQ(run(IoKind::write, mib * mib_sectors, 1u << 20), 0);
    ASSERT_EQ(run(IoKind::write_zeroes, mib_sectors, 2u << 20), 0);
    ASSERT_EQ(run(IoKind::read, 2 * mib_sectors, 1u << 20), 0);
    EXPECT_EQ(data.get()[0], 0);
    EXPECT_EQ(std::memcmp(data.get(), data.get() + 1, (1u << 20) - 1), 0);
    ASSERT_EQ(run(IoKind::read, 3 * mib_sectors, 1u << 20), 0);
    EXPECT_EQ(data.get()[0], 0x77);
    (*disk)->close();
    std::filesystem::remove(path);
}

TEST_F(FileTest, WhatIsNoDeviceIsRefusedWithItsName) {
    for (const char* path : {"/no/such/disk", "/dev/null", "/var/tmp"}) {
        const Result<Disk*> disk = Disk::open(*loop, path);
        ASSERT_FALSE(disk) << path;
        EXPECT_NE(disk.error().text.find(path), std::string::npos) << disk.error().text;
    }
}

TEST_F(FileTest, TheHostOpensAndClosesDisks) {
    struct Nothing final : HostEvents {
        void changed(int) override {}
        HandlerCommand handler(std::string_view, int) override { return {}; }
    } nothing;
    Host host(*loop, nothing);
    TestFolder folder;
    make_file(folder.file("disk"), 1u << 20);
    const Result<engine::Disk*> disk = host.open_disk(folder.file("disk"), std::nullopt);
    ASSERT_TRUE(disk) << disk.error().text;
    EXPECT_FALSE(host.open_disk(folder.file("disk"), std::nullopt));
    std::filesystem::resize_file(folder.file("disk"), 2u << 20);
    EXPECT_EQ((*disk)->limits().size_sectors, 2048u);
    host.refresh_disk_sizes();
    EXPECT_EQ((*disk)->limits().size_sectors, 4096u);
    host.close_disk(**disk);
    const Result<engine::Disk*> again = host.open_disk(folder.file("disk"), std::nullopt);
    ASSERT_TRUE(again) << again.error().text;
    host.close_disk(**again);
}

}  // namespace
}  // namespace duplex::runtime
