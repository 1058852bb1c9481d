#include "lfs/log_reader.h"
