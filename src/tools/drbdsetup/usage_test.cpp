#include "tools/drbdsetup/usage.hpp"

#include <gtest/gtest.h>

namespace duplex::drbdsetup {
namespace {

std::string usage(std::string_view name) {
    return command_usage(*control::find_command(name));
}

TEST(Usage, ShowsOptionsWithTheirRanges) {
    EXPECT_EQ(usage("primary"), "USAGE:\n drbdsetup primary {minor} [--force={yes|no}]\n");
    EXPECT_EQ(usage("resource-options"),
              "USAGE:\n drbdsetup resource-options {resource} [--set-defaults] [--cpu-mask=<str>]\n"
              "    [--on-no-data-accessible={io-error|suspend-io}]\n");
    EXPECT_EQ(
        usage("status"),
        "USAGE:\n drbdsetup status {resource|all} [--verbose] [--statistics] [--color=...]\n    [--json]\n");
    EXPECT_EQ(usage("wait-connect"),
              "USAGE:\n drbdsetup wait-connect {minor} [--wfc-timeout=...] [--degr-wfc-timeout=...]\n"
              "    [--outdated-wfc-timeout=...] [--wait-after-sb=...]\n");
    EXPECT_EQ(usage("disconnect"),
              "USAGE:\n drbdsetup disconnect [{af}:]{local_addr}[:{port}] [{af}:]{remote_addr}[:{port}]\n"
              "    [--force={yes|no}]\n");
    EXPECT_EQ(usage("new-minor"), "USAGE:\n drbdsetup new-minor {resource} {minor} {volume}\n");
}

TEST(Usage, TellsProgramsOfEveryKindOfOption) {
    EXPECT_EQ(
        command_xml(*control::find_command("resize")).substr(0, 220),
        "<command name=\"resize\">\n\t<argument>minor</argument>\n\t<option name=\"size\" type=\"numeric\">\n"
        "\t\t<min>0</min>\n\t\t<max>2199023255552</max>\n\t\t<default>0</default>\n\t\t<unit_prefix>s</"
        "unit_prefix>\n"
        "\t\t<unit>bytes</unit>\n\t</option>\n\t<o");
    EXPECT_EQ(command_xml(*control::find_command("show")),
              "<command "
              "name=\"show\">\n\t<group>\n\t\t<argument>resource</argument>\n\t\t<argument>minor</argument>\n"
              "\t\t<argument>all</argument>\n\t</group>\n\t<option name=\"show-defaults\" "
              "type=\"flag\">\n\t</option>\n"
              "</command>\n");
    EXPECT_EQ(command_xml(*control::find_command("new-resource")),
              "<command name=\"new-resource\">\n\t<argument>resource</argument>\n"
              "\t<option name=\"cpu-mask\" type=\"string\">\n\t</option>\n"
              "\t<option name=\"on-no-data-accessible\" type=\"handler\">\n\t\t<handler>io-error</handler>\n"
              "\t\t<handler>suspend-io</handler>\n\t</option>\n</command>\n");
}

TEST(Usage, ListsAllCommands) {
    EXPECT_EQ(general_usage(), R"(
USAGE: drbdsetup command device arguments options

Device is usually /dev/drbdX or /dev/drbd/X.

Commands are:
    primary             secondary           attach              
    disk-options        detach              connect             
    net-options         disconnect          resize              
    resource-options    new-current-uuid    invalidate          
    invalidate-remote   pause-sync          resume-sync         
    suspend-io          resume-io           outdate             
    verify              down                state               
    role                sh-status           cstate              
    dstate              show-gi             get-gi              
    show                status              check-resize        
    events              events2             wait-connect        
    wait-sync           new-resource        new-minor           
    del-minor           del-resource        

To get more details about a command issue 'drbdsetup help cmd'.

)");
}

}  // namespace
}  // namespace duplex::drbdsetup
