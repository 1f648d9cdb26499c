#include "control/typed_request.hpp"

#include <gtest/gtest.h>

#include "control/commands.hpp"
#include "control/test_status.hpp"

namespace duplex::control {
namespace {

TEST(TypedRequest, Attach) {
    Request request{"attach", 0, {"/dev/a", "/dev/b", "3"}, {{"resync-rate", "10M"}, {"size", "1G"}}};
    Result<engine::AttachCommand> attach = attach_command(request);
    ASSERT_TRUE(attach.ok()) << attach.error().text;
    EXPECT_EQ(attach->data_path, "/dev/a");
    EXPECT_EQ(attach->meta_path, "/dev/b");
    EXPECT_EQ(attach->meta_index, 3);
    EXPECT_EQ(attach->options.resync_rate_kib, 10240u);
    EXPECT_EQ(attach->options.size_sectors, 2097152u);
    request.arguments[2] = "internal";
    EXPECT_EQ(attach_command(request)->meta_index, -1);
    request.arguments[2] = "flexible";
    EXPECT_EQ(attach_command(request)->meta_index, -2);
    for (const char* index : {"", "-1", "1x", "outside"}) {
        request.arguments[2] = index;
        EXPECT_FALSE(attach_command(request).ok()) << index;
    }
    request.arguments.pop_back();
    EXPECT_FALSE(attach_command(request).ok());
    request = {"attach", 0, {"/dev/a", "/dev/a", "internal"}, {{"on-io-error", "shrug"}}};
    EXPECT_NE(attach_command(request).error().text.find("on-io-error"), std::string::npos);
}

TEST(TypedRequest, Resize) {
    Request request{"resize", 0, {}, {{"size", "1G"}, {"assume-clean", "yes"}}};
    Result<engine::ResizeCommand> resize = resize_command(request);
    ASSERT_TRUE(resize.ok()) << resize.error().text;
    EXPECT_EQ(resize->size_sectors, 2097152u);
    EXPECT_TRUE(resize->assume_clean);
    EXPECT_FALSE(resize->assume_peer_has_space);
    request.options = {{"assume-peer-has-space", "yes"}};
    resize = resize_command(request);
    ASSERT_TRUE(resize.ok());
    EXPECT_EQ(resize->size_sectors, 0u);
    EXPECT_TRUE(resize->assume_peer_has_space);
    EXPECT_FALSE(resize->al_stripes || resize->al_stripe_size_kib) << "the log stays as it is";
    request.options = {{"al-stripes", "2"}, {"al-stripe-size-kB", "64"}};
    resize = resize_command(request);
    ASSERT_TRUE(resize.ok());
    EXPECT_EQ(resize->al_stripes, 2u);
    EXPECT_EQ(resize->al_stripe_size_kib, 64u);
}

TEST(TypedRequest, Connect) {
    const Request request{"connect",
                          -1,
                          {"ipv4:10.0.0.1:7789", "ipv6:[::2]:1"},
                          {{"protocol", "A"}, {"discard-my-data", "yes"}}};
    const Result<engine::ConnectCommand> connect = connect_command(request);
    ASSERT_TRUE(connect.ok()) << connect.error().text;
    EXPECT_EQ(connect->local.port, 7789);
    EXPECT_EQ(connect->peer.address, "::2");
    EXPECT_EQ(connect->options.protocol, config::Protocol::a);
    EXPECT_TRUE(connect->discard_my_data);
    EXPECT_FALSE(connect->tentative);
    EXPECT_FALSE(connect_command(Request{"connect", -1, {"10.0.0.1"}, {}}).ok());
}

TEST(TypedRequest, ChangesAreOnTopOfWhatIsSetOrOfTheDefaults) {
    config::NetOptions now;
    now.timeout_ds = 99;
    now.ping_int_s = 7;
    Request request{"net-options", -1, {}, {{"ping-int", "8"}}};
    EXPECT_EQ(changed_options(request, now)->timeout_ds, 99u);
    EXPECT_EQ(changed_options(request, now)->ping_int_s, 8u);
    request.options["set-defaults"] = "yes";
    EXPECT_EQ(changed_options(request, now)->timeout_ds, config::NetOptions{}.timeout_ds);
    EXPECT_EQ(changed_options(request, now)->ping_int_s, 8u);
}

TEST(TypedRequest, WhatAnAttachSettledIsNoMatterOfDefaults) {
    config::DiskOptions now;
    now.size_sectors = 4096;
    now.max_bio_bvecs = 1;
    now.al_extents = 257;
    const Request request{"disk-options", 0, {}, {{"set-defaults", "yes"}, {"on-io-error", "pass_on"}}};
    config::DiskOptions expected;
    expected.size_sectors = 4096;
    expected.max_bio_bvecs = 1;
    expected.on_io_error = config::OnIoError::pass_on;
    EXPECT_EQ(*changed_options(request, now), expected);
}

TEST(TypedRequest, OptionsThatACommandDoesNotTake) {
    EXPECT_TRUE(check_options(Request{"attach", 0, {}, {{"size", "0"}}}).ok());
    EXPECT_FALSE(check_options(Request{"disk-options", 0, {}, {{"size", "0"}}}).ok());
    EXPECT_FALSE(check_options(Request{"primary", 0, {}, {{"timeout", "6"}}}).ok());
    EXPECT_FALSE(check_options(Request{"primary", 0, {}, {{"overwrite-data-of-peer", "yes"}}}).ok());
    EXPECT_FALSE(check_options(Request{"fly", 0, {}, {}}).ok());
}

TEST(TypedRequest, TheConnectionIsNamedByBothAddresses) {
    const engine::ConnectionStatus connection = test_resource().connection;
    EXPECT_TRUE(
        names_connection(Request{"disconnect", -1, {"10.0.0.1", "ipv4:10.0.0.2:7788"}, {}}, connection));
    EXPECT_FALSE(
        names_connection(Request{"disconnect", -1, {"10.0.0.1", "ipv4:10.0.0.2:7789"}, {}}, connection));
    EXPECT_FALSE(names_connection(Request{"disconnect", -1, {"10.0.0.1"}, {}}, connection));
}

}  // namespace
}  // namespace duplex::control
