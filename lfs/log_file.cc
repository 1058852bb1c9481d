#include "lfs/log_file.h"
