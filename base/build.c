/* See build.h. IJ_BUILD_ID comes from the Makefile. */
#include "base/build.h"

const char *build_id(void)
{
    return IJ_BUILD_ID;
}
