// What the tests of this layer share: a loop, and turning it until something has happened.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "base/ensure.hpp"
#include "runtime/loop.hpp"

namespace duplex::runtime {

class LoopTest : public testing::Test {
  protected:
    LoopTest() {
        auto made = Loop::create();
        if (!made) throw std::runtime_error(made.error().text);
        loop = std::move(*made);
    }
    ~LoopTest() override {
        if (loop) loop->drain();
    }

    // False when it has not happened after `limit_ms`: a test that fails, not one that hangs.
    bool turn_until(const std::function<bool()>& happened, uint64_t limit_ms = 20'000) {
        const uint64_t end_ms = loop->now_ms() + limit_ms;
        while (!happened()) {
            if (loop->now_ms() >= end_ms) return false;
            loop->turn(100);
        }
        return true;
    }

    std::unique_ptr<Loop> loop;
};

// A folder on a real file system, removed with the test.
class TestFolder {
  public:
    TestFolder() {
        std::string name = "/var/tmp/duplex-test-XXXXXX";
        ensure(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~TestFolder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

}  // namespace duplex::runtime
