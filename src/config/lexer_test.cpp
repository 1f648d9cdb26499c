#include "config/lexer.hpp"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::config {
namespace {

std::vector<Token> tokens_of(std::string_view text) {
    Lexer lexer(text);
    std::vector<Token> tokens;
    for (Token token = lexer.next(); token.kind != TokenKind::end; token = lexer.next())
        tokens.push_back(token);
    return tokens;
}

TEST(Lexer, OneTokenOfEachKind) {
    struct Row {
        std::string text;
        TokenKind kind;
        int number;
    };
    const Row rows[] = {
        {"12345678", TokenKind::integer, 281},
        {"123456789", TokenKind::string, 282},  // nine digits are a word
        {"10M", TokenKind::integer, 281},
        {"10k", TokenKind::string, 282},
        {"10MB", TokenKind::string, 282},
        {"10.0.0.1", TokenKind::ipv4, 280},
        {"999.0.0.2", TokenKind::ipv4, 280},
        {"10.0.0.1.5", TokenKind::string, 282},
        {"fe80::1", TokenKind::ipv6, 316},
        {"::", TokenKind::ipv6, 316},
        {"fe80::1%eth0", TokenKind::ipv6, 316},
        {"::ffff:10.0.0.1", TokenKind::ipv6, 316},
        {"2001:db8:0:0:1:2:3:4", TokenKind::ipv6, 316},
        {"/dev/drbd0", TokenKind::string, 282},
        {"resource", TokenKind::keyword, 259},
        {"resources", TokenKind::string, 282},
        {"rate", TokenKind::keyword, 8478},
        {"use-rle", TokenKind::keyword, 8479},
        {"sndbuf-size", TokenKind::keyword, 12577},
        {"no-tcp-cork", TokenKind::keyword, 288},
        {"no-disk-drain", TokenKind::keyword, 285},
        {"=", TokenKind::other, 283},
        {"{", TokenKind::other, '{'},
    };
    for (const Row& row : rows) {
        const std::vector<Token> tokens = tokens_of(row.text);
        ASSERT_EQ(tokens.size(), 1u) << row.text;
        EXPECT_EQ(tokens[0].kind, row.kind) << row.text;
        EXPECT_EQ(tokens[0].number, row.number) << row.text;
        EXPECT_EQ(tokens[0].text, row.text);
    }
}

TEST(Lexer, QuotedStringsAreNeverKeywords) {
    const std::vector<Token> tokens = tokens_of(R"("disk" "a \"b\" \\c" "")");
    ASSERT_EQ(tokens.size(), 3u);
    EXPECT_EQ(tokens[0].kind, TokenKind::string);
    EXPECT_EQ(tokens[1].text, "a \"b\" \\c");
    EXPECT_EQ(tokens[2].text, "");
    EXPECT_EQ(tokens[2].kind, TokenKind::string);
}

TEST(Lexer, CommentsAndLines) {
    const std::vector<Token> tokens = tokens_of("a#b c\n\n  # all of it\nnet{timeout 50;}");
    ASSERT_EQ(tokens.size(), 7u);
    EXPECT_EQ(tokens[0].text, "a");
    EXPECT_EQ(tokens[1].line, 4);
    EXPECT_TRUE(tokens[2].is('{'));
    EXPECT_TRUE(tokens[3].is_keyword("timeout"));
}

TEST(Lexer, LimitsOfStrings) {
    EXPECT_EQ(tokens_of(std::string(128, 'a'))[0].kind, TokenKind::string);
    EXPECT_EQ(tokens_of(std::string(129, 'a'))[0].kind, TokenKind::too_long);
    const auto quoted = [](std::size_t n) { return "\"" + std::string(n, 'a') + "\""; };
    EXPECT_EQ(tokens_of(quoted(255))[0].kind, TokenKind::string);
    EXPECT_EQ(tokens_of(quoted(256))[0].kind, TokenKind::quoted_too_long);
    EXPECT_EQ(tokens_of("\"abc\nd")[0].kind, TokenKind::unterminated);
    EXPECT_EQ(tokens_of("\"abc")[0].text, "\"");
}

}  // namespace
}  // namespace duplex::config
