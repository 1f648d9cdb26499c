#include "wire/rules.hpp"
