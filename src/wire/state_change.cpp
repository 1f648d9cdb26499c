#include "wire/state_change.hpp"
