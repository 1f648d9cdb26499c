#include "config/compare.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace duplex::config {
namespace {

// In a list with duplicates the last one counts.
const OptionSetting* last_setting(const OptionList& list, std::string_view name) {
    const auto found = std::ranges::find(list.rbegin(), list.rend(), name, &OptionSetting::name);
    return found == list.rend() ? nullptr : &*found;
}

bool is_default(const Option& option, std::string_view text) {
    const Result<Value> value = parse_value(option, text);
    return value && *value == default_value(option);
}

}  // namespace

bool same_value(const Option& option, std::string_view a, std::string_view b) {
    const Result<Value> left = parse_value(option, a);
    const Result<Value> right = parse_value(option, b);
    if (left && right) return *left == *right;
    return a == b;
}

Comparison compare_options(OptionGroup group, const OptionList& running, const OptionList& configured) {
    Comparison result;
    const auto differ = [&result](std::string text) {
        result.differs = true;
        result.difference = std::move(text);
        return result;
    };
    for (const OptionSetting& setting : running) {
        const Option* option = find_option(group, setting.name);
        if (option == nullptr) continue;
        if (const OptionSetting* wanted = last_setting(configured, setting.name)) {
            const bool same = same_value(*option, setting.value, wanted->value);
            std::string text = fmt::format("Value of '{}' {}: r={} c={}", setting.name,
                                           same ? "equal" : "differs", setting.value, wanted->value);
            if (!same) return differ(std::move(text));
            result.equalities.push_back(std::move(text));
        } else if (is_default(*option, setting.value)) {
            result.equalities.push_back(
                fmt::format("Is default: '{}' equal: r={}", setting.name, setting.value));
        } else {
            return differ(fmt::format("Only in running config {}: {}", setting.name, setting.value));
        }
    }
    for (const OptionSetting& setting : configured) {
        const Option* option = find_option(group, setting.name);
        if (option == nullptr || find_setting(running, setting.name) != nullptr) continue;
        if (!is_default(*option, last_setting(configured, setting.name)->value)) {
            return differ(fmt::format("Only in config file {}: {}", setting.name, setting.value));
        }
    }
    return result;
}

OptionList changeable_disk_options(OptionList options) {
    std::erase_if(options, [](const OptionSetting& setting) {
        const Option* option = find_option(OptionGroup::disk, setting.name);
        return option != nullptr && option->attach_only;
    });
    return options;
}

}  // namespace duplex::config
