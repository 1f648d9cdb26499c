// The words of drbd.conf: which are keywords, which number messages print for them (cli 2.1), and what an
// option word means in a section, 8.3 spellings included (cli 6).
#pragma once

#include <optional>
#include <string_view>

#include "config/options.hpp"

namespace duplex::config {

// Token numbers that are not those of a keyword.
inline constexpr int token_ipv4 = 280;
inline constexpr int token_integer = 281;
inline constexpr int token_string = 282;
inline constexpr int token_other = 283;
inline constexpr int token_too_long = 308;
inline constexpr int token_quoted_too_long = 309;
inline constexpr int token_unterminated = 310;
inline constexpr int token_ipv6 = 316;

// The number of a keyword; nothing if the word is none.
std::optional<int> keyword_number(std::string_view word);

// What a word means as the name of an option.
struct OptionWord {
    const Option* option = nullptr;  // nullptr: accepted and dropped together with its value
    bool is_flag = false;            // value optional: yes, no
    bool negated = false;            // "no-..." of 8.3: a bare word that says no
};

// A word inside net, disk, startup, options, handlers or proxy.
std::optional<OptionWord> option_word(OptionGroup section, std::string_view word);

// A word inside the syncer section of 8.3; the option's group says where its value goes.
std::optional<OptionWord> syncer_word(std::string_view word);

}  // namespace duplex::config
