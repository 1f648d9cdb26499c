#include "wire/encode.hpp"
