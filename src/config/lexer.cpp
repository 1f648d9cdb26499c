#include "config/lexer.hpp"

#include <algorithm>
#include <optional>

#include "config/keywords.hpp"

namespace duplex::config {
namespace {

constexpr std::size_t longest_plain = 128;
constexpr std::size_t longest_quoted = 255;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_plain(char c) {
    return is_letter(c) || is_digit(c) || c == '/' || c == '.' || c == '_' || c == '-';
}

std::size_t digits_at(std::string_view text, std::size_t from) {
    std::size_t end = from;
    while (end < text.size() && is_digit(text[end])) ++end;
    return end - from;
}

// Each of these gives the length of the token of its kind at the start of text, 0 if there is none.

std::size_t integer_length(std::string_view text) {
    const std::size_t digits = std::min(digits_at(text, 0), std::size_t{8});
    if (digits == 0) return 0;
    const bool suffix =
        digits < text.size() && std::string_view("MKGs").find(text[digits]) != std::string_view::npos;
    return digits + (suffix ? 1 : 0);
}

std::size_t ipv4_length(std::string_view text) {
    std::size_t length = 0;
    for (int group = 0; group < 4; ++group) {
        if (group > 0) {
            if (length >= text.size() || text[length] != '.') return 0;
            ++length;
        }
        const std::size_t digits = std::min(digits_at(text, length), std::size_t{3});
        if (digits == 0) return 0;
        length += digits;
    }
    return length;
}

// Groups of up to four hexadecimal digits and at least two colons, a dotted last part as in ::ffff:10.0.0.1,
// and a scope as in fe80::1%eth0.
std::size_t ipv6_length(std::string_view text) {
    std::size_t length = 0;
    std::size_t group_start = 0;
    int colons = 0;
    while (length < text.size() && (is_hex(text[length]) || text[length] == ':')) {
        if (text[length] == ':') {
            ++colons;
            group_start = length + 1;
        } else if (length - group_start >= 4) {
            break;
        }
        ++length;
    }
    if (colons < 2) return 0;
    if (const std::size_t dotted = ipv4_length(text.substr(group_start)); dotted > 0) {
        length = std::max(length, group_start + dotted);
    }
    if (length + 1 < text.size() && text[length] == '%' && is_plain(text[length + 1])) {
        ++length;
        while (length < text.size() && is_plain(text[length])) ++length;
    }
    return length;
}

std::size_t plain_length(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::find_if_not(text, is_plain) - text.begin());
}

}  // namespace

std::string shortened(std::string_view token_text) {
    constexpr std::size_t shown = 20;
    if (token_text.size() <= shown) return std::string(token_text);
    return std::string(token_text.substr(0, shown)) + "...";
}

void Lexer::skip_blanks() {
    while (position_ < text_.size()) {
        const char c = text_[position_];
        if (c == '#') {
            position_ = std::min(text_.find('\n', position_), text_.size());
        } else if (c == ' ' || c == '\t' || c == '\r') {
            ++position_;
        } else if (c == '\n') {
            ++position_;
            ++line_;
        } else {
            return;
        }
    }
}

Token Lexer::take(TokenKind kind, std::size_t length) {
    Token token;
    token.kind = kind;
    token.text = text_.substr(position_, length);
    token.line = line_;
    position_ += length;
    return token;
}

Token Lexer::quoted_string() {
    Token token;
    token.line = line_;
    std::size_t end = position_ + 1;
    std::size_t characters = 0;
    for (; end < text_.size() && text_[end] != '"' && text_[end] != '\n'; ++end, ++characters) {
        if (text_[end] == '\\' && end + 1 < text_.size() && text_[end + 1] != '\n') ++end;
        token.text += text_[end];
    }
    if (end >= text_.size()) {
        token = take(TokenKind::other, 1);
        token.number = token_other;
        return token;
    }
    if (text_[end] == '\n' || characters > longest_quoted) {
        const bool newline = text_[end] == '\n';
        token.kind = newline ? TokenKind::unterminated : TokenKind::quoted_too_long;
        token.number = newline ? token_unterminated : token_quoted_too_long;
        token.text = text_.substr(position_, end + 1 - position_);
        if (newline) ++line_;
    } else {
        token.kind = TokenKind::string;
        token.number = token_string;
    }
    position_ = end + 1;
    return token;
}

Token Lexer::word() {
    const std::string_view rest = text_.substr(position_);
    const std::size_t plain = plain_length(rest);
    const std::size_t integer = integer_length(rest);
    const std::size_t ipv4 = ipv4_length(rest);
    const std::size_t ipv6 = ipv6_length(rest);
    const std::size_t longest = std::max({plain, integer, ipv4, ipv6});

    Token token;
    if (longest == 0) {
        token = take(TokenKind::other, 1);
        const bool punctuation = std::string_view("{};[]:").find(token.text[0]) != std::string_view::npos;
        token.number = punctuation ? token.text[0] : token_other;
    } else if (longest == ipv6) {
        token = take(TokenKind::ipv6, longest);
        token.number = token_ipv6;
    } else if (longest == ipv4) {
        token = take(TokenKind::ipv4, longest);
        token.number = token_ipv4;
    } else if (longest == integer) {
        token = take(TokenKind::integer, longest);
        token.number = token_integer;
    } else if (longest > longest_plain) {
        token = take(TokenKind::too_long, longest);
        token.number = token_too_long;
    } else {
        const std::optional<int> keyword = keyword_number(rest.substr(0, longest));
        token = take(keyword ? TokenKind::keyword : TokenKind::string, longest);
        token.number = keyword.value_or(token_string);
    }
    return token;
}

Token Lexer::next() {
    skip_blanks();
    if (position_ >= text_.size()) {
        Token token;
        token.line = line_;
        return token;
    }
    return text_[position_] == '"' ? quoted_string() : word();
}

}  // namespace duplex::config
