#include "wire/state.hpp"
