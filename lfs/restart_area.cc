#include "lfs/restart_area.h"
