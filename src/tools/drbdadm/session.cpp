#include "tools/drbdadm/session.hpp"

#include <cstdio>

#include <fmt/format.h>

namespace duplex::drbdadm {

int Session::run(std::vector<std::string> words, TimeLimit limit, const config::Resource& resource) const {
    ToolCall call;
    call.words = std::move(words);
    call.limit = limit;
    call.resource = resource.name;
    return runner.run(call);
}

std::vector<std::string> Session::meta_words(const config::Volume& volume, std::string_view command) const {
    const std::string index = volume.meta_index == "flexible" ? "flex-external" : volume.meta_index;
    return {line.drbdmeta,       fmt::to_string(volume.minor.value_or(0)), "v08", volume.meta_device(), index,
            std::string(command)};
}

void Session::add_setup_options(std::vector<std::string>& words) const {
    words.insert(words.end(), line.setup_options.begin(), line.setup_options.end());
}

void Session::find_peer(config::Resource& resource) {
    config::PeerChoice choice;
    choice.name = line.peer;
    choice.explain = line.command->needs_peer;
    choice.mention_ignored = line.dry_run > 1;
    config::Report report;
    config::choose_peer(resource, choice, report);
    print_messages(report);
}

void print_messages(const config::Report& report) {
    for (const std::string& message : report.messages) fmt::print(stderr, "{}\n", message);
}

void add_options(std::vector<std::string>& words, const config::OptionList& options) {
    for (const config::OptionSetting& setting : options) {
        words.push_back(fmt::format("--{}={}", setting.name, setting.value));
    }
}

}  // namespace duplex::drbdadm
