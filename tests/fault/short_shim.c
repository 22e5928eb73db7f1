/* Preloaded into a program under test: SHORT_SHIM=<n> makes the nth pwrite and the nth write to a
 * regular file, counted together, take only half of what it was given; SHORT_SHIM=<n>+ all from the
 * nth on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t cut(int fd, size_t size)
{
    static atomic_long calls;
    const char *text = getenv("SHORT_SHIM");
    struct stat info;
    if (!text || size < 2 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))
        return size;
    long number = atomic_fetch_add(&calls, 1) + 1, wanted = atol(text);
    int hit = strchr(text, '+') ? number >= wanted : number == wanted;
    return hit ? size / 2 : size;
}

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return real(fd, data, cut(fd, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    return real(fd, data, cut(fd, size), offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite(fd, data, size, offset);
}
