/* See log.h. The message is escaped into a fixed buffer, so a hostile name cannot forge a line. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const level_names[] = {"err", "warn", "notice", "info", "debug"};
static const int level_priorities[] = {3, 4, 5, 6, 7}; /* syslog */
static _Atomic int log_level_now = -1;

static int level_from_environment(void)
{
    const char *name = getenv("IJEPAD_LOG");
    for (int i = 0; name && i <= LOG_LEVEL_DEBUG; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return LOG_LEVEL_INFO;
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_level_now, (int)level);
}

int log_set_level_name(const char *name)
{
    for (int i = 0; i <= LOG_LEVEL_DEBUG; i++)
        if (strcmp(name, level_names[i]) == 0) {
            log_set_level((enum log_level)i);
            return 0;
        }
    return -1;
}

static size_t escape(char *out, size_t out_size, const char *text)
{
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c && n + 5 < out_size; c++) {
        if (*c == '"' || *c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)*c;
        } else if (*c < 0x20 || *c == 0x7f) {
            n += (size_t)snprintf(out + n, out_size - n, "\\x%02x", *c);
        } else {
            out[n++] = (char)*c;
        }
    }
    out[n] = '\0';
    return n;
}

void log_line(enum log_level level, const char *module, long long run, const char *format, ...)
{
    int now = atomic_load(&log_level_now);
    if (now < 0) {
        now = level_from_environment();
        atomic_store(&log_level_now, now);
    }
    if ((int)level > now)
        return;
    char message[1024], escaped[2200], line[2600], stamp[CLOCK_RFC3339_SIZE], prefix[8] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    escape(escaped, sizeof escaped, message);
    if (getenv("JOURNAL_STREAM"))
        snprintf(prefix, sizeof prefix, "<%d>", level_priorities[level]);
    clock_rfc3339(clock_wall_ms(), stamp);
    char run_text[32] = "";
    if (run)
        snprintf(run_text, sizeof run_text, " run=r%lld", run);
    int n = snprintf(line, sizeof line, "%s%s %-6s %s%s msg=\"%s\"\n", prefix, stamp,
                     level_names[level], module, run_text, escaped);
    if (n > 0)
        (void)!write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}
