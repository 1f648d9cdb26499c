// Option sections: net, disk, options, startup, handlers, proxy and the syncer of 8.3.
#include <algorithm>

#include <fmt/format.h>

#include "config/parser_state.hpp"

namespace duplex::config {

OptionList& Parser::list_of(Sections& sections, OptionGroup group) {
    switch (group) {
        case OptionGroup::net:
            return sections.net;
        case OptionGroup::disk:
            return sections.disk;
        case OptionGroup::startup:
            return sections.startup;
        case OptionGroup::handlers:
            return sections.handlers;
        case OptionGroup::proxy:
            return sections.proxy;
        case OptionGroup::resource:
        case OptionGroup::command:
            break;
    }
    return sections.options;
}

// The text is kept; here only what drbdadm refuses while it reads the file (cli 5.1).
void Parser::check_value(const Option& option, const Token& value) {
    if (option.name == "protocol") {
        if (!parse_value(option, value.text)) {
            invalid(fmt::format("unknown protocol '{}', should be one of A,B,C", value.text));
        }
        return;
    }
    if (!option.checked_in_files) return;
    const Result<int64_t> number = parse_number(value.text, option.unit);
    if (!number) return fail(number.error().text, value.text.empty() ? exit_empty_number : exit_fatal);
    if (Status status = check_range(option, value.text, *number); !status) {
        invalid_at(value.line, status.error().text);
    }
}

std::string Parser::parse_option_value(const Option* option) {
    Token value = next();
    const bool accepted =
        value.kind == TokenKind::string || value.kind == TokenKind::integer || value.is_keyword("on");
    if (!accepted) {
        fail_not_string("TK_STRING | TK_INTEGER", value);
        return {};
    }
    if (option != nullptr) check_value(*option, value);
    if (option != nullptr && option->name == "protocol") {
        std::ranges::transform(value.text, value.text.begin(), [](char c) {
            return c >= 'a' && c <= 'c' ? static_cast<char>(c - 'a' + 'A') : c;
        });
    }
    expect(';');
    return value.text;
}

std::string Parser::parse_flag_value(std::string_view expected) {
    const Token value = next();
    if (value.is(';')) return "yes";
    if (!value.is_keyword("yes") && !value.is_keyword("no")) {
        fail_expected(expected, value, Form::plain);
        return {};
    }
    expect(';');
    return value.text;
}

// One option of a section whose name is the token; false if the word is none.
bool Parser::parse_option(OptionGroup group, const Token& name, OptionList& list) {
    // drbdsetup show prints what only connect's command line can set.
    if (running_ && group == OptionGroup::net &&
        (name.text == "discard-my-data" || name.text == "tentative")) {
        parse_flag_value("yes | no | ;");
        return true;
    }
    if (name.kind != TokenKind::keyword) return false;
    const std::optional<OptionWord> word = option_word(group, name.text);
    if (!word) return false;
    std::string value;
    if (word->negated) {
        expect(';');
        value = "no";
    } else if (word->is_flag) {
        value = parse_flag_value("yes | no | ;");
    } else {
        value = parse_option_value(word->option);
    }
    if (word->option != nullptr) list.push_back({std::string(word->option->name), std::move(value)});
    return true;
}

void Parser::parse_options(OptionGroup group, OptionList& list) {
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (parse_option(group, token, list)) continue;
        fail_expected(token.kind == TokenKind::end ? "an option" : "an option keyword", token, Form::plain);
    }
}

void Parser::parse_syncer(Sections& sections) {
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        const std::optional<OptionWord> word =
            token.kind == TokenKind::keyword ? syncer_word(token.text) : std::nullopt;
        if (!word) return fail_expected("a syncer option keyword", token, Form::plain);
        std::string value = word->is_flag ? parse_flag_value(";") : parse_option_value(word->option);
        list_of(sections, word->option->group).push_back({std::string(word->option->name), std::move(value)});
    }
}

// Strings up to a punctuation mark, at least one.
std::vector<std::string> Parser::parse_names(char end, std::string_view expected_later) {
    std::vector<std::string> names;
    for (Token token = next(); !token.is(end) || names.empty(); token = next()) {
        if (token.kind != TokenKind::string) {
            fail_not_string(token.is(end) ? "TK_STRING" : expected_later, token);
            break;
        }
        names.push_back(std::move(token.text));
    }
    return names;
}

void Parser::parse_startup(Sections& sections) {
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.is_keyword("become-primary-on")) {
            sections.become_primary_on = parse_names(';', "TK_STRING | ';'");
        } else if (token.is_keyword("stacked-timeouts")) {
            sections.stacked_timeouts = true;
            expect(';');
        } else if (!parse_option(OptionGroup::startup, token, sections.startup)) {
            fail_expected(token.kind == TokenKind::end ? "an option" : "an option keyword", token,
                          Form::plain);
        }
    }
}

void Parser::parse_plugins(std::vector<std::string>& plugins) {
    if (Token open = next(); !open.is('{')) {
        return fail(fmt::format("{}:{}: expected \"{{\" after \"proxy\" keyword", file_, open.line));
    }
    std::string line;
    for (Token token = next();; token = next()) {
        if (token.kind == TokenKind::end) {
            return fail(fmt::format("{}:{}: Unexpected end-of-file", file_, token.line));
        }
        if (token.is('}')) {
            if (line.empty()) return;
            return fail(fmt::format("{}:{}: Missing \";\" before  \"}}\"", file_, token.line));
        }
        if (token.is(';')) {
            plugins.push_back(std::move(line));
            line.clear();
            continue;
        }
        if (!line.empty()) line += ' ';
        line += token.text;
    }
}

void Parser::parse_proxy_options(OptionList& list, std::vector<std::string>& plugins) {
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.is_keyword("plugin")) {
            plugins.clear();
            parse_plugins(plugins);
        } else if (!parse_option(OptionGroup::proxy, token, list)) {
            fail_expected(token.kind == TokenKind::end ? "an option" : "an option keyword", token,
                          Form::plain);
        }
    }
}

}  // namespace duplex::config
