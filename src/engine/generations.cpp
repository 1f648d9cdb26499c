#include "engine/generations.hpp"
