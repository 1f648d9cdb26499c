#include "engine/states.hpp"
