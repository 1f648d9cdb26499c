// What the loop, a disk and a pair of sockets can do by themselves: the ceiling for everything built on them.
//
//     loop_bench FILE     a regular file (made, 256 MiB, and left there) or an expendable block device
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sys/resource.h>
#include <time.h>
#include <vector>

#include "base/ensure.hpp"
#include "base/random.hpp"
#include "base/units.hpp"
#include "runtime/disk.hpp"
#include "runtime/network.hpp"

namespace duplex::runtime {
namespace {

constexpr double seconds_each = 2;
constexpr uint64_t file_bytes = 256u << 20;

double seconds(clockid_t clock) {
    timespec now{};
    ensure(clock_gettime(clock, &now) == 0);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Wall and processor time since it was made.
class Stopwatch {
  public:
    double wall() const { return seconds(CLOCK_MONOTONIC) - wall_; }
    double processor() const { return seconds(CLOCK_PROCESS_CPUTIME_ID) - processor_; }

  private:
    double wall_ = seconds(CLOCK_MONOTONIC);
    double processor_ = seconds(CLOCK_PROCESS_CPUTIME_ID);
};

void report(const char* what, double count, double bytes, const Stopwatch& watch) {
    const double wall = watch.wall();
    std::printf("%-34s %10.0f /s %9.1f MiB/s %7.2f us CPU each %5.0f%% of a core\n", what, count / wall,
                bytes / wall / (1 << 20), watch.processor() / count * 1e6, watch.processor() / wall * 100);
    std::fflush(stdout);
}

// Turns the loop for a while, then until everything it started has come back.
template <typename Stop>
void turn_for(Loop& loop, const Stopwatch& watch, Stop stop) {
    while (watch.wall() < seconds_each)
        for (int i = 0; i < 50; ++i) loop.turn(100);
    stop();
}

void bench_turns(Loop& loop, size_t depth) {
    struct Nop final : Completion {
        void complete(int, uint32_t) override {
            ++count;
            if (!stopped) io_uring_prep_nop(&loop->prepare(*this));
        }
        Loop* loop = nullptr;
        uint64_t count = 0;
        bool stopped = false;
    };
    std::vector<Nop> nops(depth);
    const Stopwatch watch;
    for (Nop& nop : nops) {
        nop.loop = &loop;
        io_uring_prep_nop(&loop.prepare(nop));
    }
    uint64_t count = 0;
    turn_for(loop, watch, [&] {
        for (Nop& nop : nops) {
            count += nop.count;
            nop.stopped = true;
        }
    });
    report(fmt::format("no-op, depth {}", depth).c_str(), static_cast<double>(count), 0, watch);
    loop.drain();
}

struct DiskLoad {
    engine::IoKind kind;
    uint32_t size_bytes;
    bool fua;
    bool random;
    size_t depth;
};

class RepeatedIo final : public engine::DiskIo {
  public:
    void start(Disk& disk, const DiskLoad& load, Random& random, uint64_t& next, uint8_t* buffer) {
        disk_ = &disk;
        load_ = &load;
        random_ = &random;
        next_ = &next;
        kind = load.kind;
        fua = load.fua;
        size_bytes = load.size_bytes;
        data = buffer;
        submit();
    }
    void completed(int error) override {
        ensure(error == 0);
        ++count;
        if (!stopped) submit();
    }
    uint64_t count = 0;
    bool stopped = false;

  private:
    void submit() {
        const uint64_t places = disk_->limits().size_sectors * sector_bytes / load_->size_bytes;
        const uint64_t place = load_->random ? random_->below(places) : (*next_)++ % places;
        sector = Sector(place * load_->size_bytes / sector_bytes);
        disk_->submit(*this);
    }
    Disk* disk_ = nullptr;
    const DiskLoad* load_ = nullptr;
    Random* random_ = nullptr;
    uint64_t* next_ = nullptr;
};

void bench_disk(Loop& loop, Disk& disk, BufferPool& pool, const DiskLoad& load) {
    Random random(1);
    uint64_t next = 0;
    std::vector<RepeatedIo> operations(load.depth);
    std::vector<uint8_t*> buffers;
    const Stopwatch watch;
    for (RepeatedIo& io : operations) {
        buffers.push_back(pool.take(load.size_bytes));
        ensure(buffers.back() != nullptr);
        std::memset(buffers.back(), 0x5a, load.size_bytes);
        io.start(disk, load, random, next, buffers.back());
    }
    uint64_t count = 0;
    turn_for(loop, watch, [&] {
        for (RepeatedIo& io : operations) {
            count += io.count;
            io.stopped = true;
        }
    });
    const std::string name = fmt::format("{} {}, {} KiB{}, depth {}", load.random ? "random" : "sequential",
                                         load.kind == engine::IoKind::read ? "read" : "write",
                                         load.size_bytes / 1024, load.fua ? " FUA" : "", load.depth);
    report(name.c_str(), static_cast<double>(count), static_cast<double>(count * load.size_bytes), watch);
    loop.drain();
    for (uint8_t* buffer : buffers) pool.give(buffer, load.size_bytes);
}

// Both ends of a connection in this one loop: the processor time is the sender's and the receiver's.
class Ends final : public engine::NetworkEvents, public engine::SocketEvents {
  public:
    void connected(engine::Socket& socket) override {
        sender = &socket;
        socket.set_events(*this);
    }
    void accepted(engine::Socket& socket) override {
        receiver = &socket;
        socket.set_events(*this);
    }
    void connect_failed(std::string_view) override { ensure(false); }
    size_t received(engine::Socket&, std::span<const uint8_t> bytes) override {
        received_bytes += bytes.size();
        return bytes.size();
    }
    void closed(engine::Socket&, int) override {}

    engine::Socket* sender = nullptr;
    engine::Socket* receiver = nullptr;
    uint64_t received_bytes = 0;
};

class RepeatedPacket final : public engine::OutPacket {
  public:
    void done(bool sent) override {
        if (sent && !stopped) socket->send(*this);
    }
    engine::Socket* socket = nullptr;
    bool stopped = false;
};

void bench_network(Loop& loop, BufferPool& pool, uint32_t payload_bytes, size_t depth) {
    constexpr uint32_t head_bytes = 40;  // header100 and P_DATA's fixed part
    const engine::Endpoint a{"ipv4", "127.0.0.1", 47788}, b{"ipv4", "127.0.0.2", 47788};
    Ends ends;
    Network listening(loop, "a"), connecting(loop, "b");
    listening.configure(a, b, {}, ends);
    connecting.configure(b, a, {}, ends);
    const Status listened = listening.listen();
    const Status started = connecting.connect();
    ensure(listened.ok() && started.ok());
    while (!ends.sender || !ends.receiver) loop.turn(100);

    uint8_t* const payload = pool.take(std::max(payload_bytes, 1u));
    std::vector<RepeatedPacket> packets(depth);
    const Stopwatch watch;
    for (RepeatedPacket& packet : packets) {
        std::memset(packet.head, 0x5a, sizeof packet.head);
        packet.head_bytes = head_bytes;
        packet.payload = payload;
        packet.payload_bytes = payload_bytes;
        packet.socket = ends.sender;
        ends.sender->send(packet);
    }
    uint64_t bytes = 0;
    turn_for(loop, watch, [&] {
        bytes = ends.received_bytes;
        for (RepeatedPacket& packet : packets) packet.stopped = true;
    });
    const std::string name = fmt::format("TCP, {} KiB packets, {} queued", payload_bytes / 1024, depth);
    report(name.c_str(), static_cast<double>(bytes) / (head_bytes + payload_bytes),
           static_cast<double>(bytes), watch);
    listening.close_all();
    connecting.close_all();
    loop.drain();
    pool.give(payload, std::max(payload_bytes, 1u));
}

int run(const std::string& path) {
    auto loop = Loop::create();
    if (!loop) {
        std::fprintf(stderr, "%s\n", loop.error().text.c_str());
        return 1;
    }
    BufferPool pool(64u << 20);
    if (const Status registered = (*loop)->register_buffers(pool); !registered)
        std::fprintf(stderr, "%s\n", registered.error().text.c_str());
    if (!std::filesystem::exists(path)) {
        std::ofstream file(path);
        const std::vector<char> block(1u << 20, 'x');
        for (uint64_t at = 0; at < file_bytes; at += block.size())
            file.write(block.data(), static_cast<std::streamsize>(block.size()));
    }
    const Result<Disk*> disk = Disk::open(**loop, path);
    if (!disk) {
        std::fprintf(stderr, "%s\n", disk.error().text.c_str());
        return 1;
    }
    for (const size_t depth : {1u, 32u}) bench_turns(**loop, depth);
    using engine::IoKind;
    for (const DiskLoad& load :
         {DiskLoad{IoKind::read, 4096, false, true, 1}, DiskLoad{IoKind::read, 4096, false, true, 32},
          DiskLoad{IoKind::write, 4096, false, true, 1}, DiskLoad{IoKind::write, 4096, false, true, 32},
          DiskLoad{IoKind::write, 4096, true, true, 1}, DiskLoad{IoKind::write, 1u << 20, false, false, 8},
          DiskLoad{IoKind::read, 1u << 20, false, false, 8}})
        bench_disk(**loop, **disk, pool, load);
    (*disk)->close();
    bench_network(**loop, pool, 0, 1);
    bench_network(**loop, pool, 0, 128);
    bench_network(**loop, pool, 4096, 1);
    bench_network(**loop, pool, 4096, 128);
    bench_network(**loop, pool, 1u << 20, 8);
    (*loop)->drain();
    return 0;
}

}  // namespace
}  // namespace duplex::runtime

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: loop_bench FILE\n");
        return 2;
    }
    return duplex::runtime::run(arguments[1]);
}
