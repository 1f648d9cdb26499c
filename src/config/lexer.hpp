// The scanner of drbd.conf: longest match; on a tie a keyword wins over a plain string (cli 2).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace duplex::config {

enum class TokenKind : uint8_t {
    end,
    other,    // punctuation, or a character that starts no token
    keyword,  // statements, option names and the few value words ("yes", "ipv6", ...)
    integer,
    ipv4,
    ipv6,
    string,
    too_long,         // plain string over 128 characters
    quoted_too_long,  // quoted string over 255 characters
    unterminated,     // newline inside quotes
};

struct Token {
    TokenKind kind = TokenKind::end;
    int number = 0;    // as printed in "(TK n)": cli 2.1
    std::string text;  // of a quoted string: the content, backslashes resolved
    int line = 0;

    bool is(char punctuation) const {
        return kind == TokenKind::other && text.size() == 1 && text[0] == punctuation;
    }
    bool is_keyword(std::string_view word) const { return kind == TokenKind::keyword && text == word; }
};

class Lexer {
  public:
    // The text must outlive the lexer.
    explicit Lexer(std::string_view text, int first_line = 1) : text_(text), line_(first_line) {}

    // After the last token: TokenKind::end, again and again.
    Token next();

    // The line the scanner stands on.
    int line() const { return line_; }

  private:
    void skip_blanks();
    Token quoted_string();
    Token word();
    Token take(TokenKind kind, std::size_t length);

    std::string_view text_;
    std::size_t position_ = 0;
    int line_;
};

// The first 20 characters of a token, as messages show it, with "..." if it is longer.
std::string shortened(std::string_view token_text);

}  // namespace duplex::config
