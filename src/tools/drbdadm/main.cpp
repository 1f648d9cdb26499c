// drbdadm: reads drbd.conf and calls drbdsetup and drbdmeta for what it says (cli 10 to 17).
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <unistd.h>

#include <fmt/format.h>

#include "config/address.hpp"
#include "config/merge.hpp"
#include "config/parser.hpp"
#include "config/quote.hpp"
#include "tools/drbdadm/disk_loader.hpp"
#include "tools/drbdadm/local_node.hpp"
#include "tools/drbdadm/registry.hpp"
#include "tools/drbdadm/session.hpp"
#include "tools/drbdadm/targets.hpp"
#include "tools/drbdadm/version.hpp"

namespace duplex::drbdadm {
namespace {

constexpr std::array<std::string_view, 5> default_files{
    "/etc/drbd-84.conf", "/etc/drbd-83.conf", "/etc/drbd-82.conf", "/etc/drbd-08.conf", "/etc/drbd.conf"};

bool is(const Session& session, std::string_view name) {
    return session.line.command->name == name;
}

bool is_dump(const Session& session) {
    return is(session, "dump") || is(session, "dump-xml");
}

void print_version() {
    fmt::print("DRBDADM_BUILDTAG={}\n", config::shell_escaped(build_tag));
    fmt::print("DRBDADM_API_VERSION=1\n");
    fmt::print("DRBD_KERNEL_VERSION_CODE={}\n", drbd_version_code);
    fmt::print("DRBDADM_VERSION_CODE={}\n", compatible_version_code);
    fmt::print("DRBDADM_VERSION={}\n", compatible_version);
}

// The file that is read when no -c says another (cli 3.2, 17).
std::optional<std::string> default_file(const Session& session) {
    const Scope scope = session.line.command->scope;
    const bool handler = scope == Scope::volume_handler || scope == Scope::resource_handler;
    if ((handler || is(session, "sh-udev")) && !session.line.names.empty()) {
        const std::string& name = session.line.names.front();
        if (std::optional<std::string> registered = registered_file(name)) return registered;
        const bool minor = name.starts_with("minor-");
        fmt::print(stderr, "Don't know which config file belongs to {}{}, trying default ones...\n",
                   minor ? "minor " : "resource ", minor ? name.substr(6) : name);
    }
    for (std::string_view file : default_files) {
        if (access(std::string(file).c_str(), R_OK) == 0) return std::string(file);
    }
    fmt::print(stderr, "Can not open '{}': No such file or directory\n", default_files.back());
    return std::nullopt;
}

// Reads and checks; the status, 0 if the configuration is valid.
int read_config(Session& session) {
    DiskLoader loader;
    const std::string directory = std::filesystem::current_path().string();
    std::string name = session.line.config_file.value_or("");
    if (name.empty()) {
        const std::optional<std::string> file = default_file(session);
        if (!file) return config::exit_invalid;
        name = *file;
    }
    const auto cannot_open = [](const std::string& file) {
        fmt::print(stderr, "Can not open '{}'.\n.", file);
        return config::exit_fatal;
    };
    session.from_stdin = name == "-";
    const std::optional<config::SourceFile> source =
        session.from_stdin ? DiskLoader::load_stdin() : loader.load(directory, name);
    if (!source) return cannot_open(name);
    std::optional<config::SourceFile> second;
    if (session.line.config_to_test) {
        second = loader.load(directory, *session.line.config_to_test);
        if (!second) return cannot_open(*session.line.config_to_test);
    }
    config::ParseResult result =
        config::parse(*source, session.from_stdin ? "STDIN" : name, loader, second ? &*second : nullptr,
                      session.line.config_to_test.value_or(""));
    print_messages(result.report);
    if (session.on_terminal) {
        for (const std::string& message : result.report.terminal_messages)
            fmt::print(stderr, "{}\n", message);
    }
    session.config = std::move(result.config);
    return result.report.exit_status;
}

int prepare_config(Session& session) {
    const bool proxies = is(session, "proxy-up") || is(session, "proxy-down");
    const auto match = proxies ? config::MatchBy::proxy : config::MatchBy::host_section;
    const auto dangling =
        session.on_terminal ? config::DanglingReferences::refuse : config::DanglingReferences::drop;
    config::Report report;
    config::assign_roles(session.config, session.node, match, report);
    const bool as_written = is_dump(session) && !session.dry_run() && session.line.verbose == 0;
    if (report.valid() && !as_written) {
        config::merge(session.config,
                      is_dump(session) ? config::ResyncAfter::by_name : config::ResyncAfter::by_minor,
                      dangling, report);
    }
    if (report.valid()) config::check_references(session.config, dangling, report);
    print_messages(report);
    return report.exit_status;
}

// Whether this host owns the address it is to use; reports if not (cli 8).
bool address_is_local(const Session& session, const config::Resource& resource) {
    const bool unchecked = !session.line.command->checks_address || session.line.dry_run == 1 ||
                           session.config.global.disable_ip_verification || resource.ignored() ||
                           !resource.me->address;
    if (unchecked) return true;
    const std::string& ip = resource.me->address.ip;
    const bool local = std::ranges::any_of(session.node.addresses,
                                           [&](const std::string& own) { return config::same_ip(own, ip); });
    if (!local) {
        fmt::print(stderr, "{}:{}: in resource {}, on {}:\n\tIP {} not found on this host.\n", resource.file,
                   resource.me->address.line, resource.name, resource.me->label(), ip);
    }
    return local;
}

int run_on_volumes(Session& session, const Target& target) {
    if (target.volume != nullptr) return session.line.command->run(session, target);
    for (config::Volume& volume : target.resource->me->volumes) {
        const int status = session.line.command->run(session, {target.resource, &volume});
        if (status != 0) return status;
    }
    return 0;
}

int run_on(Session& session, const Target& target) {
    const Command& command = *session.line.command;
    if (!address_is_local(session, *target.resource) && !is_dump(session)) return config::exit_invalid;
    if (command.scope == Scope::together) {
        const bool known = std::ranges::any_of(session.targets, [&](const Target& each) {
            return each.resource == target.resource && each.volume == target.volume;
        });
        if (!known) session.targets.push_back(target);
        return 0;
    }
    return command.scope == Scope::volume ? run_on_volumes(session, target) : command.run(session, target);
}

int run_on_all(Session& session) {
    if (const int status = nothing_to_do(session); status != 0) return status;
    int greatest = 0;
    for (const auto& resource : session.config.resources) {
        if (resource->ignored() || resource->stacked() != session.line.stacked) continue;
        const int status = run_on(session, {resource.get(), nullptr});
        greatest = std::max(greatest, status);
        if (status >= config::exit_fatal) break;
    }
    return greatest;
}

int run_on_names(Session& session) {
    int greatest = 0;
    for (const std::string& name : session.line.names) {
        const Selection selection = select_target(session, name);
        greatest = std::max(greatest, selection.status);
        if (selection.skip) continue;
        if (selection.status != 0) break;
        const int status = run_on(session, selection.target);
        greatest = std::max(greatest, status);
        if (status >= config::exit_fatal) break;
    }
    return greatest;
}

int run_on_everything(Session& session) {
    bool local = true;
    for (const auto& resource : session.config.resources) {
        if (!resource->stacked()) local = address_is_local(session, *resource) && local;
    }
    return local ? session.line.command->run(session, {}) : config::exit_invalid;
}

bool wants_json(const Session& session) {
    return is(session, "status") &&
           std::ranges::find(session.line.setup_options, "--json") != session.line.setup_options.end();
}

void note_several_names(const Session& session) {
    if (session.line.names.size() > 1) {
        fmt::print(stderr, "You should not use this command with multiple resources!\n");
    }
}

int run_command(Session& session) {
    CommandLine& line = session.line;
    const bool all = line.names.empty() || std::ranges::find(line.names, "all") != line.names.end();
    switch (line.command->scope) {
        case Scope::none:
            return 0;
        case Scope::everything:
            return run_on_everything(session);
        case Scope::optional:
            if (all && is_dump(session)) return run_on_everything(session);
            // One document, not one for each resource.
            if (all && wants_json(session)) return line.command->run(session, {});
            if (wants_json(session) && line.names.size() > 1) {
                fmt::print(stderr, "status --json is about one resource, or about all\n");
                return config::exit_usage;
            }
            return all ? run_on_all(session) : run_on_names(session);
        case Scope::together: {
            const int status = all ? run_on_all(session) : run_on_names(session);
            return status != 0 ? status : line.command->run(session, {});
        }
        case Scope::resource_handler:
        case Scope::volume_handler:
            note_several_names(session);
            return run_on_names(session);
        case Scope::resource:
        case Scope::volume:
        case Scope::one_volume:
            if (is(session, "sh-udev")) note_several_names(session);
            break;
    }
    return all ? run_on_all(session) : run_on_names(session);
}

// What can be said about the command line alone; a status ends the run.
std::optional<int> check_command_line(const CommandLine& line) {
    if (line.version) {
        print_version();
        return 0;
    }
    if (line.help) {
        fmt::print("{}", usage_text(line.program, line.help_about, ""));
        return 0;
    }
    if (line.command == nullptr) {
        fmt::print("{}", usage_text(line.program, nullptr, "No command specified"));
        return config::exit_usage;
    }
    for (const std::string& note : line.notes) fmt::print(stderr, "{}\n", note);
    if (line.command->name == "hidden-commands") {
        fmt::print("{}", hidden_commands_text());
        return 0;
    }
    const std::string_view name = line.command->name;
    if (line.config_to_test && name != "dump" && name != "dump-xml" && name != "sh-nop") {
        fmt::print(stderr,
                   "The --config-to-test (-t) option is only allowed with the dump and sh-nop commands\n");
        return config::exit_usage;
    }
    const Scope scope = line.command->scope;
    const bool takes_names = scope != Scope::none && scope != Scope::everything;
    if (!takes_names && !line.names.empty()) {
        fmt::print(stderr, "This command will ignore resource names!\n");
    }
    if (takes_names && scope != Scope::optional && line.names.empty()) {
        fmt::print("{}", usage_text(line.program, line.command, "No resource names specified"));
        return config::exit_usage;
    }
    for (const std::string& each : line.names) {
        if (const std::string_view problem = config::unusable_name(each); takes_names && !problem.empty()) {
            fmt::print(stderr, "{}\n", problem);
            return config::exit_usage;
        }
    }
    return std::nullopt;
}

// /proc/drbd's text, which the processes know and drbdsetup collects.
int print_proc(const Session& session) {
    ToolCall call;
    call.words = {session.line.drbdsetup, "proc"};
    return session.runner.run(call);
}

// Of the programs named on the command line: a dry run would show calls of what cannot be called (cli 10.1).
bool tools_exist(const Session& session) {
    const CommandLine unnamed;
    const auto missing = [&](const std::string& program, const std::string& usual) {
        return program != usual && session.runner.find_program(program).empty();
    };
    const CommandLine& line = session.line;
    if (!missing(line.drbdsetup, unnamed.drbdsetup) && !missing(line.drbdmeta, unnamed.drbdmeta) &&
        !missing(line.drbd_proxy_ctl, unnamed.drbd_proxy_ctl)) {
        return true;
    }
    fmt::print(stderr, "Can not find command (drbdsetup/drbdmeta)\n");
    return false;
}

int run(const std::vector<std::string>& arguments) {
    CommandLineResult parsed = parse_command_line(arguments);
    Session session;
    session.line = std::move(parsed.line);
    session.node = local_node();
    if (parsed.problem) {
        fmt::print(stderr, "{}\n", *parsed.problem);
        return config::exit_usage;
    }
    if (const std::optional<int> status = check_command_line(session.line)) return *status;

    ToolRunner::Settings settings;
    settings.dry_run = session.line.dry_run;
    settings.verbose = session.line.verbose;
    settings.shell_variable = session.line.shell_variable;
    settings.own_path = arguments.front();
    session.runner.configure(settings);
    if (!tools_exist(session)) return config::exit_fatal;
    if (is(session, "proc")) return print_proc(session);

    session.on_terminal = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
    if (const int status = read_config(session); status != 0) return status;
    settings.limits = session.config.global;
    session.runner.configure(settings);
    if (const int status = prepare_config(session); status != 0) return status;
    return run_command(session);
}

}  // namespace
}  // namespace duplex::drbdadm

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv, argv + argc);
    if (arguments.empty()) return 1;
    const int status = duplex::drbdadm::run(arguments);
    std::fflush(stdout);
    return status;
}
