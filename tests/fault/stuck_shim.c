/* Preloaded into a program under test: while the file named by STUCK_SHIM exists, who opens an
 * image never comes back, as from a file server that is gone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wait_for_ever(const char *path)
{
    const char *marker = getenv("STUCK_SHIM"), *ending = strrchr(path, '.');
    if (!marker || !ending || (strcmp(ending, ".jpg") != 0 && strcmp(ending, ".png") != 0))
        return;
    while (access(marker, F_OK) == 0)
        usleep(10000);
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    wait_for_ever(path);
    if (!real)
        real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    wait_for_ever(path);
    if (!real)
        real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
    return real(folder, path, flags, mode);
}
