#include "lfs/log_format.h"
