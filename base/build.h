/* What this program was built from. */
#ifndef BASE_BUILD_H
#define BASE_BUILD_H

const char *build_id(void); /* "<commit>" or "<commit>-dirty"; static */

#endif
