#include "wire/decode.hpp"
