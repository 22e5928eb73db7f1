/* The dashboard's files, built into the program by webui/embed.py. Read-only; any thread. */
#ifndef API_STATIC_H
#define API_STATIC_H

#include <stddef.h>

struct static_file {
    const char *path, *type, *etag; /* "/app.js", media type, quoted entity tag */
    const unsigned char *plain;
    size_t plain_size;
    const unsigned char *packed; /* the same, gzip */
    size_t packed_size;
};

extern const struct static_file static_files[];
extern const size_t static_file_count;

#endif
