#include "control/show_text.hpp"

#include <gtest/gtest.h>

#include "control/test_status.hpp"

namespace duplex::control {
namespace {

TEST(ShowText, TheExampleOfTheManual) {
    engine::ResourceStatus resource = test_resource();
    resource.connection.options.cram_hmac_alg = "sha1";
    resource.connection.options.shared_secret = "a\"b\\c";
    resource.volumes[0].disk->options.resync_rate_kib = 10240;
    resource.volumes.push_back(test_volume(1, 1));
    resource.volumes[1].disk->data_path = "/dev/vg/lv";
    resource.volumes[1].disk->meta_path = "/dev/vg/md";
    resource.volumes[1].disk->meta_index = 2;
    resource.volumes.push_back(engine::VolumeStatus{});
    resource.volumes[2].volume = 7;
    resource.volumes[2].minor = 9;
    EXPECT_EQ(show_text(resource, false), R"(resource r0 {
    options {
    }
    net {
        cram-hmac-alg   	"sha1";
        shared-secret   	"a\"b\\c";
    }
    _remote_host {
        address			ipv4 10.0.0.2:7788;
    }
    _this_host {
        address			ipv4 10.0.0.1:7788;
        volume 0 {
            device			minor 0;
            disk			"/dev/sdb1";
            meta-disk			internal;
            disk {
                resync-rate     	10240k; # bytes/second
            }
        }
        volume 1 {
            device			minor 1;
            disk			"/dev/vg/lv";
            meta-disk			"/dev/vg/md" [ 2 ];
            disk {
            }
        }
        volume 7 {
            device			minor 9;
        }
    }
}
)");
}

TEST(ShowText, WithoutConnectionAndVolumes) {
    engine::ResourceStatus resource;
    resource.name = "r1";
    EXPECT_EQ(show_text(resource, false),
              "resource r1 {\n    options {\n    }\n    _this_host {\n    }\n}\n");
}

TEST(ShowText, DefaultsAreMarked) {
    const std::string text = show_text(test_resource(), true);
    for (const char* line : {
             "        protocol        \tC; # default\n",
             "        timeout         \t60; # 1/10 seconds, default\n",
             "            disk {\n                size            \t0s; # bytes, default\n",
             "                max-bio-bvecs   \t0; # default\n",
             "                resync-after    \t-1; # default\n",
             "                c-plan-ahead    \t20; # 1/10 seconds, default\n",
         }) {
        EXPECT_NE(text.find(line), std::string::npos) << line << "in\n" << text;
    }
}

}  // namespace
}  // namespace duplex::control
