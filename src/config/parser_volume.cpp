// Statements of a volume, and addresses.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "config/address.hpp"
#include "config/parser_state.hpp"

namespace duplex::config {
namespace {

constexpr std::string_view device_directory = "/dev/";

bool all_digits(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

// The volume that statements outside any volume section are about.
Volume& Parser::implicit_volume(const Body& body, int line) {
    const bool explicit_there =
        std::ranges::any_of(*body.volumes, [](const Volume& v) { return !v.implicit; });
    if (explicit_there) {
        invalid_at(line, "mixing explicit and implicit volumes is not allowed");
    }
    if (Volume* volume = find_volume(*body.volumes, 0)) return *volume;
    Volume& volume = body.volumes->emplace_back();
    volume.implicit = true;
    return volume;
}

// device, disk, meta-disk outside any volume section; false if the word is none of them.
bool Parser::parse_implicit_volume(const Token& word, const Body& body) {
    Volume read;
    if (word.text == "device") {
        parse_device(read, word);
        claim("device statement", body.label + ":device", word.line);
        Volume& volume = implicit_volume(body, word.line);
        volume.minor = read.minor;
        volume.device = read.device;
        if (body.host != nullptr && read.minor) claim_device(volume, *body.host, word.line);
    } else if (word.text == "disk") {
        parse_disk(read);
        claim("disk statement", body.label + ":disk", word.line);
        Volume& volume = implicit_volume(body, word.line);
        if (!read.disk.empty()) volume.disk = read.disk;
        volume.disk_options.insert(volume.disk_options.end(), read.disk_options.begin(),
                                   read.disk_options.end());
    } else if (word.text == "meta-disk" || word.text == "flexible-meta-disk") {
        parse_meta_disk(read, word.text == "flexible-meta-disk");
        claim("meta-disk statement", body.label + ":meta-disk", word.line);
        Volume& volume = implicit_volume(body, word.line);
        volume.meta_disk = read.meta_disk;
        volume.meta_index = read.meta_index;
    } else {
        return false;
    }
    return true;
}

void Parser::parse_volume(const Body& body) {
    const bool stacked = body.host != nullptr && body.host->kind == HostKind::stacked;
    const Token number = expect_integer();
    if (failed_) return;
    const Result<int64_t> value = parse_number(number.text, NumberUnit::one);
    if (!value) return fail(value.error().text, exit_fatal);
    constexpr int64_t max_volume_number = 65535;
    if (*value > max_volume_number) {
        return fail(fmt::format("{}:{}: volume {} => {} out of range [0..{}].", file_, number.line,
                                number.text, *value, max_volume_number));
    }
    Volume volume;
    volume.number = static_cast<unsigned>(*value);
    expect('{');
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.is_keyword("device")) {
            parse_device(volume, token);
            if (body.host != nullptr && volume.minor) claim_device(volume, *body.host, token.line);
        } else if (stacked) {
            fail_expected("TK_DEVICE", token, Form::numbered);
        } else if (token.is_keyword("disk")) {
            parse_disk(volume);
        } else if (token.is_keyword("meta-disk") || token.is_keyword("flexible-meta-disk")) {
            parse_meta_disk(volume, token.text == "flexible-meta-disk");
        } else {
            fail_expected("device | disk | meta-disk | flex-meta-disk | }", token, Form::numbered);
        }
    }
    // Given twice, the first one stands.
    if (find_volume(*body.volumes, volume.number) == nullptr) body.volumes->push_back(std::move(volume));
}

// The forms and their errors: cli 4.4.
void Parser::parse_device(Volume& volume, const Token& statement) {
    std::string name;
    std::string minor_text;
    Token token = next();
    if (token.kind == TokenKind::string) {
        name = token.text;
        if (name.starts_with(device_directory)) name.erase(0, device_directory.size());
        if (!name.starts_with("drbd")) {
            invalid_at(statement.line,
                       "device name must start with /dev/drbd\n\t(/dev/ is optional, but drbd is required)");
        }
        token = next();
    } else if (!token.is_keyword("minor")) {
        return fail_not_string("TK_STRING", token);
    }
    if (token.is_keyword("minor")) {
        minor_text = expect_integer().text;
        expect(';');
    } else if (!token.is(';')) {
        return fail_expected("minor | ;", token, Form::plain);
    }
    if (failed_) return;

    const bool drbd = name.starts_with("drbd");
    const std::string suffix = drbd ? name.substr(4) : std::string();
    const bool given = !minor_text.empty();
    if (!given && all_digits(suffix)) minor_text = suffix;
    int64_t minor = 0;
    if (minor_text.empty()) {
        invalid_at(statement.line, "no minor given nor device name contains a minor number");
    } else {
        const Result<int64_t> number = parse_number(minor_text, NumberUnit::one);
        if (!number) return fail(number.error().text, exit_fatal);
        minor = *number;
        if (minor > std::numeric_limits<uint32_t>::max()) {
            invalid_at(statement.line, fmt::format("minor {} => {} out of range [0..{}].", minor_text, minor,
                                                   std::numeric_limits<uint32_t>::max()));
            minor = 0;
        }
    }
    const auto names_minor = [&suffix, minor] {
        const Result<int64_t> named = parse_number(suffix, NumberUnit::one);
        return named && *named == minor;
    };
    if (given && drbd && all_digits(suffix) && !names_minor()) {
        invalid_at(statement.line, fmt::format("explicit minor number must match with device name\n"
                                               "\tTry \"device /dev/drbd{0} minor {0};\",\n"
                                               "\tor leave off either device name or explicit minor.\n"
                                               "\tArbitrary device names must start with /dev/drbd_\n"
                                               "\tmind the '_'! (/dev/ is optional, but drbd_ is required)",
                                               minor));
    } else if (given && drbd && !all_digits(suffix) && !suffix.starts_with('_')) {
        invalid_at(statement.line,
                   "arbitrary device name must start with /dev/drbd_\n"
                   "\tmind the '_'! (/dev/ is optional, but drbd_ is required)");
    }
    volume.minor = static_cast<uint32_t>(minor);
    volume.device = name.empty() ? std::string() : fmt::format("{}{}", device_directory, name);
}

void Parser::claim_device(const Volume& volume, const Host& host, int line) {
    // After an error the minor may be none that anybody wrote.
    if (!report_.valid()) return;
    for (const std::string& name : host.names) {
        claim("device-minor", fmt::format("device-minor:{}:{}", name, volume.minor.value_or(0)), line);
        if (!volume.device.empty()) claim("device", fmt::format("device:{}:{}", name, volume.device), line);
    }
}

void Parser::parse_disk(Volume& volume) {
    Token token = next();
    if (token.is('{')) {
        section_start_ = token.line;
        parse_options(OptionGroup::disk, volume.disk_options);
    } else if (token.kind == TokenKind::string) {
        volume.disk = token.text;
        expect(';');
    } else {
        fail_not_string("TK_STRING | {", token);
    }
}

void Parser::parse_meta_disk(Volume& volume, bool flexible) {
    volume.meta_disk = expect_string().text;
    volume.meta_index = volume.meta_disk == "internal" ? "internal" : "flexible";
    if (flexible || volume.meta_index == "internal") {
        expect(';');
        return;
    }
    Token token = next();
    if (token.is('[')) {
        volume.meta_index = expect_integer().text;
        expect(']');
        expect(';');
    } else if (!token.is(';')) {
        fail_expected("[ | ;", token, Form::plain);
    }
}

// [ipv4 | ssocks | sdp | sci] A.B.C.D:PORT or ipv6 [ADDR]:PORT. The address's line is that of the statement.
Address Parser::parse_address(const Token& statement) {
    Address address;
    address.line = statement.line;
    address.family = "ipv4";
    Token token = next();
    if (token.is_keyword("ipv6")) {
        address.family = "ipv6";
        expect('[');
        token = next();
        if (token.kind != TokenKind::ipv6) fail_expected("TK_IPADDR6", token, Form::numbered);
        address.ip = token.text;
        expect(']');
    } else {
        if (token.kind == TokenKind::keyword) {
            const bool family =
                token.text == "ipv4" || token.text == "ssocks" || token.text == "sdp" || token.text == "sci";
            if (family) {
                address.family = token.text == "sci" ? "ssocks" : token.text;
                token = next();
            }
        }
        if (token.kind != TokenKind::ipv4) {
            fail_expected("ssocks | sdp | ipv4 | ipv6 | <ipv4 address> ", token, Form::plain);
        }
        address.ip = token.text;
    }
    expect(':');
    address.port = expect_integer().text;
    if (failed_) return address;

    Option port;
    port.name = "port";
    port.min = 1;
    port.max = 65535;
    const Result<int64_t> number = parse_number(address.port, NumberUnit::one);
    if (!number) {
        fail(number.error().text, exit_fatal);
    } else if (Status status = check_range(port, address.port, *number); !status) {
        invalid_at(token.line, status.error().text);
        // DRBD's drbdadm says it twice in host sections, whose address statement it reads in two steps.
        if (statement.is_keyword("address")) invalid_at(token.line, status.error().text);
    }
    return address;
}

void Parser::claim_address(const Address& address, const Host& host) {
    if (!address) return;
    const std::string endpoint = address.ip + ":" + address.port;
    if (!is_loopback(address.ip) || host.names.empty()) return claim("IP", endpoint, address.line);
    for (const std::string& name : host.names)
        claim("IP", fmt::format("{}:{}", name, endpoint), address.line);
}

}  // namespace duplex::config
