#include "wire/header.hpp"
