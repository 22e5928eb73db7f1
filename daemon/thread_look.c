/* See thread_look.h. */
#include "daemon/thread_look.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define THREADS_MAX 256

/* The first line of a file of one thread; "" if it cannot be read. */
static void read_line(int folder, const char *thread, const char *name, char *ret_text, size_t size)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", thread, name);
    fd_auto int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);
    ret_text[n > 0 ? n : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

static const char *meaning_of(char state)
{
    switch (state) {
    case 'R':
        return "runs";
    case 'S':
        return "sleeps";
    case 'D':
        return "is stuck in the kernel";
    case 'T':
        return "is stopped by a signal";
    case 't':
        return "is stopped by a debugger";
    case 'Z':
        return "has ended";
    default:
        return "is in an unknown state";
    }
}

static void look_at(int folder, const char *thread, struct buf *text)
{
    char name[64], place[64], stat[512], state = '?';
    unsigned long user = 0, kernel = 0;
    read_line(folder, thread, "comm", name, sizeof(name));
    read_line(folder, thread, "wchan", place, sizeof(place));
    read_line(folder, thread, "stat", stat, sizeof(stat));
    const char *rest = strrchr(stat, ')'); /* the name in brackets may hold anything */
    if (!rest || sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state,
                        &user, &kernel) != 3)
        return;
    bool somewhere = place[0] && strcmp(place, "0") != 0;
    buf_printf(text, "thread %s \"%s\" %s (%c)%s%s; %.2f s of processor time\n", thread, name,
               meaning_of(state), state, somewhere ? " at " : "", somewhere ? place : "",
               (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK));
}

void thread_look(pid_t pid, struct buf *text)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    buf_printf(text, "\n--- the daemon looks at process %d ---\n", (int)pid);
    for (const struct dirent *entry; folder && (entry = readdir(folder)) && count < THREADS_MAX;)
        if (isdigit((unsigned char)entry->d_name[0])) {
            look_at(dirfd(folder), entry->d_name, text);
            count++;
        }
    buf_printf(text, "--- %u threads ---\n", count);
    if (folder)
        (void)closedir(folder);
}
