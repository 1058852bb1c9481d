// As core/base/precompiled/libraries.h, for the unit tests.

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <random>
#include <set>

#include "core/base/precompiled/libraries.h"
