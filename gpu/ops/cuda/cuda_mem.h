/* base/mem.h, a C header, for the C++ of this folder. */
#ifndef GPU_OPS_CUDA_MEM_H
#define GPU_OPS_CUDA_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "base/mem.h"
}

#endif
