#include "config/quote.hpp"

#include <algorithm>

namespace duplex::config {
namespace {

bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_plain(char c) {
    return is_alphanumeric(c) || std::string_view("/._-").find(c) != std::string_view::npos;
}

}  // namespace

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        result += c;
    }
    result += '"';
    return result;
}

std::string quoted_if_needed(std::string_view text) {
    constexpr std::size_t longest_plain = 80;
    const bool plain = !text.empty() && text.size() <= longest_plain && std::ranges::all_of(text, is_plain);
    return plain ? std::string(text) : quoted(text);
}

std::string shell_escaped(std::string_view text) {
    std::string result;
    for (char c : text) {
        if (!is_alphanumeric(c) && std::string_view("%+-./:=@_").find(c) == std::string_view::npos)
            result += '\\';
        result += c;
    }
    return result;
}

}  // namespace duplex::config
