#include "wire/bitmap_codec.hpp"
