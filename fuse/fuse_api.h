#pragma once

// libfuse's low-level interface, at the version that this program is written for.

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
