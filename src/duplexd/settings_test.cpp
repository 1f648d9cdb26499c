#include "duplexd/settings.hpp"

#include <gtest/gtest.h>

namespace duplex::duplexd {
namespace {

TEST(Settings, Exports) {
    struct Case {
        const char* text;
        bool nbd;
        bool device;
    };
    for (const Case& c : {
             Case{"", true, true},
             Case{"# nothing\n\n", true, true},
             Case{"export nbd\n", true, false},
             Case{"  export\tdevice , nbd # both", true, true},
             Case{"export none", false, false},
         }) {
        const Result<Settings> settings = parse_settings(c.text, "duplex.conf");
        ASSERT_TRUE(settings.ok()) << settings.error().text;
        EXPECT_EQ(settings->export_nbd, c.nbd) << c.text;
        EXPECT_EQ(settings->export_device, c.device) << c.text;
    }
}

TEST(Settings, ErrorsNameFileAndLine) {
    EXPECT_EQ(parse_settings("\nexport nbd,tape\n", "duplex.conf").error().text,
              "duplex.conf:2: unknown export 'tape' (known: nbd, device, none)");
    EXPECT_EQ(parse_settings("export", "duplex.conf").error().text, "duplex.conf:1: 'export' has no value");
    EXPECT_EQ(parse_settings("exports nbd", "duplex.conf").error().text,
              "duplex.conf:1: unknown setting 'exports'");
}

}  // namespace
}  // namespace duplex::duplexd
