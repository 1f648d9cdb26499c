#include "engine/split_brain.hpp"
