/* See npy.h. */
#include "gpu/interop/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define PREFIX_BYTES 10 /* magic, version, length of the text */

static const char *const descriptions[] = {"<f4", "<i4", "|u1"};

enum ij_status npy_write_header(int fd, const char *path, enum npy_type type, int dims,
                                const uint64_t *shape, struct ij_err *reterr_err)
{
    char header[NPY_HEADER_BYTES + 1], sizes[96] = "";
    const int room = NPY_HEADER_BYTES - PREFIX_BYTES;
    size_t used = 0;
    IJ_ASSERT(dims >= 1 && dims <= NPY_DIMS_MAX);
    for (int i = 0; i < dims; i++)
        used += (size_t)snprintf(sizes + used, sizeof sizes - used, "%llu,%s",
                                 (unsigned long long)shape[i], i + 1 < dims ? " " : "");
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)room;
    header[9] = 0;
    int n = snprintf(header + PREFIX_BYTES, (size_t)room + 1,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descriptions[type],
                     sizes);
    IJ_ASSERT(n > 0 && n < room);
    memset(header + PREFIX_BYTES + n, ' ', (size_t)(room - n));
    header[NPY_HEADER_BYTES - 1] = '\n';
    return file_write_all(fd, header, NPY_HEADER_BYTES, path, reterr_err);
}
