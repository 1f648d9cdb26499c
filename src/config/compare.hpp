// Running against configured options, by meaning and not by spelling (cli 13.2).
#pragma once

#include <string>
#include <vector>

#include "config/model.hpp"
#include "config/options.hpp"

namespace duplex::config {

struct Comparison {
    bool differs = false;
    std::vector<std::string> equalities;  // what was found equal, before the first difference
    std::string difference;               // the first difference found
};

// Values that mean the same: 10M and 10240k.
bool same_value(const Option& option, std::string_view a, std::string_view b);

// An option that is absent has its default. The comparison ends at the first difference.
Comparison compare_options(OptionGroup group, const OptionList& running, const OptionList& configured);

// The disk options that can be set while a disk is attached.
OptionList changeable_disk_options(OptionList options);

}  // namespace duplex::config
