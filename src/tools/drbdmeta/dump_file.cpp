#include "tools/drbdmeta/dump_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include <fmt/format.h>

namespace duplex::drbdmeta {

namespace {

constexpr std::array<std::string_view, 11> keywords = {"version",
                                                       "uuid",
                                                       "flags",
                                                       "la-size-sect",
                                                       "bm-byte-per-bit",
                                                       "device-uuid",
                                                       "la-peer-max-bio-size",
                                                       "al-stripes",
                                                       "al-stripe-size-4k",
                                                       "bm",
                                                       "times"};

constexpr size_t string_max = 20;
constexpr size_t digits_max = 19;

enum class Kind : uint8_t { keyword, string, number, u32, u64, punctuation, end, bad_word, bad_character };

struct Token {
    Kind kind = Kind::end;
    std::string_view text;
    uint64_t value = 0;
    std::string problem;  // for bad_word
};

bool is_word_character(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-_.,'").find(c) != std::string_view::npos;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

class Lexer {
  public:
    explicit Lexer(std::string_view text) : text_(text) {}

    Token next() {
        skip_space();
        if (at_ == text_.size()) return {};
        const char c = text_[at_];
        if (c == '"') return string();
        if (c == '{' || c == '}' || c == ';') return {Kind::punctuation, text_.substr(at_++, 1), 0, {}};
        if (is_word_character(c)) return word();
        return {Kind::bad_character, text_.substr(at_++, 1), 0, {}};
    }
    unsigned line() const { return line_; }

  private:
    void skip_space() {
        for (; at_ < text_.size(); ++at_) {
            const char c = text_[at_];
            if (c == '#') {
                at_ = std::min(text_.find('\n', at_), text_.size());
                if (at_ == text_.size()) return;
                ++line_;
            } else if (c == '\n') {
                ++line_;
            } else if (c != ' ' && c != '\t' && c != '\r') {
                return;
            }
        }
    }

    Token string() {
        const size_t close = text_.find_first_of("\"\n", at_ + 1);
        const size_t length = close == std::string_view::npos ? 0 : close - at_ - 1;
        if (length == 0 || length > string_max || text_[close] == '\n') {
            const std::string_view shown =
                text_.substr(at_, std::min(text_.find('\n', at_) - at_, string_max + 1));
            at_ += shown.size();
            return {Kind::bad_word, shown, 0, "invalid string"};
        }
        Token token{Kind::string, text_.substr(at_ + 1, length), 0, {}};
        at_ = close + 1;
        return token;
    }

    Token word() {
        const size_t begin = at_;
        while (at_ < text_.size() && is_word_character(text_[at_])) ++at_;
        const std::string_view word = text_.substr(begin, at_ - begin);
        if (std::ranges::find(keywords, word) != keywords.end()) return {Kind::keyword, word, 0, {}};
        if (word.starts_with("0x")) return hex(word);
        const std::string_view digits = word.starts_with('-') ? word.substr(1) : word;
        if (!digits.empty() && digits.size() <= digits_max && std::ranges::all_of(digits, is_digit)) {
            Token token{Kind::number, word, 0, {}};
            std::from_chars(digits.data(), digits.data() + digits.size(), token.value);
            if (word.starts_with('-')) token.value = 0 - token.value;
            return token;
        }
        return {Kind::bad_word, word, 0, "unknown token"};
    }

    static Token hex(std::string_view word) {
        Token token{word.size() == 10 ? Kind::u32 : Kind::u64, word, 0, {}};
        const auto [end, problem] =
            std::from_chars(word.data() + 2, word.data() + word.size(), token.value, 16);
        const bool sized = word.size() == 10 || word.size() == 18;
        if (!sized || problem != std::errc() || end != word.data() + word.size())
            return {Kind::bad_word, word, 0, "invalid hex number (only 8 or 16 hex digits accepted)"};
        return token;
    }

    std::string_view text_;
    size_t at_ = 0;
    unsigned line_ = 1;
};

// Recursive descent with one token of look-ahead. The first mistake is kept in error_; everything after it is
// skipped, so the rules below read like the grammar.
class Parser {
  public:
    explicit Parser(std::string_view text) : lexer_(text), token_(lexer_.next()) {}

    Result<DumpFile> parse() {
        version();
        uuids();
        dump_.la_size_sectors = named_number("la-size-sect");
        dump_.bm_bytes_per_bit = named_number_32("bm-byte-per-bit");
        keyword("device-uuid");
        dump_.device_uuid = take(Kind::u64, "a 16-digit hex number");
        punctuation(';');
        dump_.la_peer_max_bio_size_bytes = named_number_32("la-peer-max-bio-size");
        dump_.al.stripes = named_number_32("al-stripes");
        dump_.al.stripe_size_4k = named_number_32("al-stripe-size-4k");
        bitmap();
        if (!failed_ && token_.kind != Kind::end) expected("end of file");
        if (failed_) return error_;
        return std::move(dump_);
    }

  private:
    void advance() { token_ = lexer_.next(); }

    void expected(std::string_view what) {
        if (failed_) return;
        failed_ = true;
        const unsigned line = lexer_.line();
        std::string found;
        switch (token_.kind) {
            case Kind::end:
                found = ", but end of file encountered";
                break;
            case Kind::keyword:
            case Kind::punctuation:
                found = fmt::format(", not '{}'", token_.text);
                break;
            case Kind::string:
                found = ", not some string";
                break;
            case Kind::number:
            case Kind::u32:
            case Kind::u64:
                found = ", not some number";
                break;
            case Kind::bad_character:
                found = fmt::format("; got invalid input character '\\x{:02x}' [{}]",
                                    static_cast<unsigned char>(token_.text[0]), token_.text);
                break;
            case Kind::bad_word:
                error_ = error("line {}: {}: {} ...\nParse error in line {}: {} expected", line,
                               token_.problem, token_.text, line, what);
                return;
        }
        error_ = error("Parse error in line {}: {} expected{}", line, what, found);
    }

    uint64_t take(Kind kind, std::string_view what) {
        if (failed_) return 0;
        if (token_.kind != kind) {
            expected(what);
            return 0;
        }
        const uint64_t value = token_.value;
        advance();
        return value;
    }

    void keyword(std::string_view word) {
        if (failed_) return;
        if (token_.kind != Kind::keyword || token_.text != word)
            return expected(fmt::format("keyword '{}'", word));
        advance();
    }

    void punctuation(char mark) {
        if (failed_) return;
        if (token_.kind != Kind::punctuation || token_.text[0] != mark)
            return expected(mark == ';'   ? "semicolon (;)"
                            : mark == '{' ? "opening brace ({)"
                                          : "closing brace (})");
        advance();
    }

    uint64_t named_number(std::string_view name) {
        keyword(name);
        const uint64_t value = take(Kind::number, "number ([0-9], up to 20 digits)");
        punctuation(';');
        return value;
    }

    uint32_t named_number_32(std::string_view name) {
        const uint64_t value = named_number(name);
        if (value > UINT32_MAX && !failed_) {
            failed_ = true;
            error_ = error("line {}: {} {} is too large", lexer_.line(), name, value);
        }
        return static_cast<uint32_t>(value);
    }

    void version() {
        keyword("version");
        const std::string_view format = token_.text;
        take(Kind::string, "short quoted string (\"..up to 20 characters, no newline..\")");
        if (!failed_ && format != "v08") {
            failed_ = true;
            error_ = error("dump is '{}' you requested 'v08'.", format);
        }
        punctuation(';');
    }

    void uuids() {
        keyword("uuid");
        punctuation('{');
        for (uint64_t& uuid : dump_.uuids) {
            uuid = take(Kind::u64, "a 16-digit hex number");
            punctuation(';');
        }
        keyword("flags");
        dump_.flags = static_cast<uint32_t>(take(Kind::u32, "an 8-digit hex number"));
        punctuation(';');
        punctuation('}');
    }

    void bitmap() {
        keyword("bm");
        punctuation('{');
        while (!failed_ && !(token_.kind == Kind::punctuation && token_.text == "}")) {
            DumpFile::Run run{1, token_.value};
            if (token_.kind == Kind::number) {
                advance();
                keyword("times");
                run = {run.word, take(Kind::u64, "a 16-digit hex number")};
            } else {
                take(Kind::u64, "repeat count, 16-digit hex number, or closing brace (})");
            }
            punctuation(';');
            dump_.bitmap.push_back(run);
        }
        punctuation('}');
    }

    Lexer lexer_;
    Token token_;
    DumpFile dump_;
    bool failed_ = false;
    Error error_;
};

}  // namespace

Result<DumpFile> parse_dump(std::string_view text) {
    Result<DumpFile> dump = Parser(text).parse();
    if (dump && dump->bm_bytes_per_bit != bit_bytes)
        return error("Invalid value for bm-byte-per-bit: {}, only {} is possible", dump->bm_bytes_per_bit,
                     bit_bytes);
    return dump;
}

}  // namespace duplex::drbdmeta
