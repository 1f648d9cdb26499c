#include "wire/stream.hpp"
