#include "config/parser.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "config/parser_state.hpp"

namespace duplex::config {

Token Parser::next() {
    if (failed_) {
        Token end;
        end.line = last_line_;
        return end;
    }
    Token token;
    if (!put_back_.empty()) {
        token = std::move(put_back_.back());
        put_back_.pop_back();
    } else {
        token = lexer_.next();
    }
    last_line_ = token.line;
    return token;
}

void Parser::put_back(Token token) {
    put_back_.push_back(std::move(token));
}

void Parser::fail(std::string message, int exit_status) {
    if (failed_) return;
    failed_ = true;
    report_.note(std::move(message));
    report_.exit_status = exit_status;
}

void Parser::fail_expected(std::string_view expected, const Token& got, Form form) {
    const std::string number = form == Form::numbered ? fmt::format(" (TK {})", got.number) : std::string();
    fail(fmt::format("{}:{}: Parse error: '{}' expected,\n\tbut got '{}'{}", file_, got.line, expected,
                     shortened(got.text), number));
}

// Strings that break a limit of the scanner have messages of their own where a string is wanted.
void Parser::fail_not_string(std::string_view expected, const Token& got) {
    const std::string start = fmt::format("{}:{}: ", file_, got.line);
    const std::string shown = fmt::format(">>>{}...<<<", got.text.substr(0, 20));
    switch (got.kind) {
        case TokenKind::too_long:
            return fail(start + "Token too long " + shown);
        case TokenKind::quoted_too_long:
            return fail(start + "Double quoted string too long " + shown);
        case TokenKind::unterminated:
            return fail(start + "Unterminated double quoted string\n  we don't allow embedded newlines\n  " +
                        shown);
        default:
            return fail_expected(expected, got, Form::numbered);
    }
}

void Parser::invalid(std::string message) {
    if (!failed_) report_.invalid(std::move(message));
}

void Parser::invalid_at(int line, std::string_view message) {
    invalid(fmt::format("{}:{}: {}", file_, line, message));
}

void Parser::claim(std::string_view kind, const std::string& key, int line) {
    if (running_ || failed_) return;
    if (std::optional<std::string> conflict = unique_names_.claim(kind, key, {file_, line})) {
        fail(std::move(*conflict));
    }
}

Token Parser::expect(char punctuation) {
    Token token = next();
    if (!token.is(punctuation)) fail_expected(std::string_view(&punctuation, 1), token, Form::numbered);
    return token;
}

Token Parser::expect_string() {
    Token token = next();
    if (token.kind != TokenKind::string) fail_not_string("TK_STRING", token);
    return token;
}

Token Parser::expect_integer() {
    Token token = next();
    if (token.kind != TokenKind::integer) fail_expected("TK_INTEGER", token, Form::numbered);
    return token;
}

Token Parser::expect_keyword(std::string_view word) {
    Token token = next();
    if (!token.is_keyword(word)) fail_expected(word, token, Form::numbered);
    return token;
}

void Parser::parse_config() {
    for (Token token = next(); token.kind != TokenKind::end; token = next()) {
        if (token.is_keyword("global")) {
            claim("global section", "global", token.line);
            if (!config_.resources.empty()) {
                report_.note(fmt::format(
                    "{}:{}: You should put the global {{}} section\n\tin front of any resource {{}} section",
                    file_, token.line));
            }
            parse_global();
        } else if (token.is_keyword("common")) {
            parse_common(token.line);
        } else if (token.is_keyword("resource")) {
            parse_resource();
        } else if (token.is_keyword("skip")) {
            parse_skip();
        } else if (token.is_keyword("include")) {
            parse_include();
        } else {
            fail_expected("global | common | resource | skip | include", token, Form::plain);
        }
    }
}

void Parser::parse_global_number(const Token& statement) {
    struct Entry {
        std::string_view name;
        unsigned Global::*member;
        unsigned min, max;
    };
    static constexpr Entry entries[] = {
        {"minor-count", &Global::minor_count, 1, 255},
        {"dialog-refresh", &Global::dialog_refresh_s, 0, 600},
        {"cmd-timeout-short", &Global::cmd_timeout_short_s, 0, 900},
        {"cmd-timeout-medium", &Global::cmd_timeout_medium_s, 0, 900},
        {"cmd-timeout-long", &Global::cmd_timeout_long_s, 0, 900},
    };
    const Entry* entry = std::ranges::find(entries, statement.text, &Entry::name);
    const bool known = statement.kind == TokenKind::keyword && entry != std::end(entries);
    if (!known) {
        return fail_expected("dialog-refresh | minor-count | disable-ip-verification", statement,
                             Form::plain);
    }
    const Token value = expect_integer();
    if (failed_) return;
    Option option;
    option.name = entry->name;
    option.min = entry->min;
    option.max = entry->max;
    const Result<int64_t> number = parse_number(value.text, NumberUnit::one);
    if (!number) return fail(number.error().text, exit_fatal);
    if (Status status = check_range(option, value.text, *number); !status) {
        invalid_at(value.line, status.error().text);
    } else {
        config_.global.*entry->member = static_cast<unsigned>(*number);
    }
    expect(';');
}

void Parser::parse_global() {
    expect('{');
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.is_keyword("disable-ip-verification")) {
            config_.global.disable_ip_verification = true;
            expect(';');
        } else if (token.is_keyword("udev-always-use-vnr")) {
            config_.global.udev_always_use_vnr = true;
            expect(';');
        } else if (token.is_keyword("usage-count")) {
            const Token answer = next();
            const bool keyword = answer.kind == TokenKind::keyword;
            if (keyword && answer.text == "yes") {
                config_.global.usage_count = UsageCount::yes;
            } else if (keyword && answer.text == "no") {
                config_.global.usage_count = UsageCount::no;
            } else if (keyword && answer.text == "ask") {
                config_.global.usage_count = UsageCount::ask;
            } else {
                fail_expected("yes | no | ask", answer, Form::plain);
            }
            expect(';');
        } else {
            parse_global_number(token);
        }
    }
}

void Parser::parse_skip() {
    const int start_line = last_line_;
    Token token = next();
    if (token.kind == TokenKind::string) {
        expect('{');
    } else if (!token.is('{')) {
        return fail_expected("[ some_text ] {", token, Form::plain);
    }
    for (int depth = 1; depth > 0 && !failed_;) {
        token = next();
        if (token.is('{')) ++depth;
        if (token.is('}')) --depth;
        if (token.kind == TokenKind::end) {
            fail(fmt::format("{}:{}: reached eof while parsing this skip block.", file_, start_line));
        }
    }
}

void Parser::parse_include() {
    const Token pattern = expect_string();
    expect(';');
    if (failed_) return;
    if (loader_ == nullptr) return fail_expected("resource", pattern, Form::plain);
    if (pattern.text.find_first_of("?*[") == std::string::npos) return include_file(pattern.text, pattern);
    for (const std::string& name : loader_->expand(directory_, pattern.text)) include_file(name, pattern);
}

void Parser::include_file(std::string_view name, const Token& statement) {
    const std::optional<SourceFile> source = loader_->load(directory_, name);
    if (!source) return invalid_at(statement.line, fmt::format("Failed to open include file '{}'.", name));
    if (files_read_.contains(source->identity)) return;

    const std::string file = std::move(file_);
    const std::string absolute_file = std::move(absolute_file_);
    const std::string directory = std::move(directory_);
    const Lexer lexer = lexer_;
    const int line = last_line_;
    parse_file(*source, name, 1);
    file_ = file;
    absolute_file_ = absolute_file;
    directory_ = directory;
    lexer_ = lexer;
    last_line_ = line;
}

void Parser::parse_file(const SourceFile& source, std::string_view display_name, int first_line) {
    files_read_.insert(source.identity);
    if (source.unreadable) return fail("input in flex scanner failed", exit_scanner);
    file_ = display_name;
    absolute_file_ = source.absolute_path;
    directory_ = source.directory;
    lexer_ = Lexer(source.text, first_line);
    if (config_.absolute_file.empty()) config_.absolute_file = source.absolute_path;
    parse_config();
}

void Parser::parse_running_resource(std::string_view text, std::string_view display_name) {
    file_ = display_name;
    absolute_file_ = display_name;
    lexer_ = Lexer(text);
    const Token token = next();
    if (token.is_keyword("resource")) parse_resource();
}

ParseResult Parser::finish() {
    if (report_.valid() && !running_) resolve_stacked();
    return {std::move(config_), std::move(report_)};
}

ParseResult parse(const SourceFile& source, std::string_view display_name, Loader& loader,
                  const SourceFile* second, std::string_view second_display_name) {
    Parser parser(&loader, false);
    parser.parse_file(source, display_name, 1);
    if (second != nullptr) parser.parse_file(*second, second_display_name, parser.last_line());
    return parser.finish();
}

ParseResult parse_running(std::string_view text, std::string_view display_name) {
    Parser parser(nullptr, true);
    parser.parse_running_resource(text, display_name);
    return parser.finish();
}

}  // namespace duplex::config
