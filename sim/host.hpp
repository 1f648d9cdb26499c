// The rest of a simulated machine as the engine sees it: its log, its backing devices by name, its helper
// scripts.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/ports.hpp"
#include "sim/disk.hpp"
#include "sim/scheduler.hpp"
#include "sim/turn.hpp"

namespace duplex::sim {

// What all machines said, in order; the last lines are shown when a check fails.
class Journal {
  public:
    explicit Journal(Scheduler& scheduler) : scheduler_(scheduler) {}

    void add(std::string_view who, std::string_view line);
    void print(std::FILE* out) const;
    // How many of the last lines hold this text.
    size_t count(std::string_view text) const;
    bool verbose = false;  // each line at once, too
    // Everything that is done to this sector is told.
    std::optional<uint64_t> traced_sector;
    unsigned traced_volume = 0;
    bool traces(unsigned volume, uint64_t first_sector, uint64_t size_sectors) const {
        return traced_sector && volume == traced_volume && *traced_sector >= first_sector &&
               *traced_sector - first_sector < size_sectors;
    }

  private:
    static constexpr size_t lines_max = 400;
    Scheduler& scheduler_;
    std::deque<std::string> lines_;
};

struct HandlerModel {
    unsigned failing_percent = 0;
    uint64_t delay_us_max = 20'000;
};

class Host : public engine::Host {
  public:
    Host(Scheduler& scheduler, Turn& turn, Journal& journal, std::string name, const HandlerModel& model)
        : scheduler_(scheduler), turn_(turn), journal_(journal), name_(std::move(name)), model_(model) {}

    void log(engine::LogLevel level, std::string_view line) override;
    uint64_t random64() override { return scheduler_.random.next(); }
    void random_bytes(std::span<uint8_t> bytes) override;
    Result<engine::Disk*> open_disk(const std::string& path, std::optional<uint32_t> slot) override;
    void close_disk(engine::Disk& disk) override;
    void run_handler(std::string_view name, int minor, std::function<void(int)> done) override;
    void changed(int) override {}

    void add_disk(const std::string& path, Disk& disk) { disks_[path] = {&disk, false}; }
    void power_off();
    const std::string& name() const { return name_; }
    HandlerModel& model() { return model_; }
    // What the handler of this name answers, instead of what is drawn.
    std::map<std::string, int, std::less<>> exit_codes;

    // Told of each handler that is called.
    std::function<void(std::string_view name)> handler_called;
    // The after-sb policies have decided, for so many Primaries.
    std::function<void(unsigned volume, unsigned primaries, bool self_wins)> split_brain_solved;

    // Lines of the log that say what a run needs to know.
    uint64_t split_brains_detected = 0;

  private:
    struct Device {
        Disk* disk = nullptr;
        bool open = false;
    };

    Scheduler& scheduler_;
    Turn& turn_;
    Journal& journal_;
    std::string name_;
    HandlerModel model_;
    std::map<std::string, Device> disks_;
    std::vector<Scheduler::EventId> handlers_;
};

}  // namespace duplex::sim
