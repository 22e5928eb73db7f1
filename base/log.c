/* See log.h. The message is escaped into a fixed buffer, so a hostile name cannot forge a line. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* the module says where; file and line change too often */
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"

#define FIELDS_MAX  8
#define FIELD_BYTES 1100

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

/* ---- The journal ----------------------------------------------------------------------------- */

static const struct {
    const char *id, *event;
} messages[LOG_MESSAGE_COUNT] = {
#define X(code, number, name, help) [LOG_MESSAGE_##code] = {number, name},
    LOG_MESSAGE_MAP(X)
#undef X
};

static int (*_Atomic journal_sendv)(const struct iovec *fields, int count) = sd_journal_sendv;

void log_set_journal(int (*sendv)(const struct iovec *fields, int count))
{
    atomic_store(&journal_sendv, sendv ? sendv : sd_journal_sendv);
}

/* JOURNAL_STREAM is "device:inode" of the stream that systemd connected. */
static bool stderr_is_journal(const char *stream)
{
    unsigned long long device, inode;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

struct fields {
    struct iovec rows[FIELDS_MAX];
    char text[FIELDS_MAX][FIELD_BYTES];
    int count;
};

__attribute__((format(printf, 2, 3))) static void add_field(struct fields *fields,
                                                            const char *format, ...)
{
    char *text = fields->text[fields->count];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, FIELD_BYTES, format, args);
    va_end(args);
    size_t size = n < 0 ? 0 : n < FIELD_BYTES ? (size_t)n : FIELD_BYTES - 1;
    fields->rows[fields->count++] = (struct iovec){.iov_base = text, .iov_len = size};
}

static bool send_to_journal(enum log_level level, const char *module, const struct log_about *about,
                            const char *message)
{
    struct fields fields = {.count = 0};
    add_field(&fields, "MESSAGE=%s", message);
    add_field(&fields, "PRIORITY=%d", level_priorities[level]);
    add_field(&fields, "SYSLOG_IDENTIFIER=ijepad");
    add_field(&fields, "IJEPAD_MODULE=%s", module);
    if (about->message) {
        add_field(&fields, "MESSAGE_ID=%s", messages[about->message].id);
        add_field(&fields, "IJEPAD_EVENT=%s", messages[about->message].event);
    }
    if (about->run)
        add_field(&fields, "IJEPAD_RUN=r%lld", about->run);
    if (about->gpu && about->gpu[0])
        add_field(&fields, "IJEPAD_GPU=%s", about->gpu);
    return atomic_load(&journal_sendv)(fields.rows, fields.count) >= 0;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static void write_line(enum log_level level, const char *module, const struct log_about *about,
                       const char *message, bool prefixed)
{
    char escaped[2200], line[2800], stamp[CLOCK_RFC3339_SIZE], prefix[8] = "", about_text[160] = "";
    size_t used = 0;
    escape(escaped, sizeof escaped, message);
    if (prefixed)
        snprintf(prefix, sizeof prefix, "<%d>", level_priorities[level]);
    clock_rfc3339(clock_wall_ms(), stamp);
    if (about->message)
        used += (size_t)snprintf(about_text, sizeof about_text, " event=%s",
                                 messages[about->message].event);
    if (about->run)
        used +=
            (size_t)snprintf(about_text + used, sizeof about_text - used, " run=r%lld", about->run);
    if (about->gpu && about->gpu[0])
        snprintf(about_text + used, sizeof about_text - used, " gpu=%.64s", about->gpu);
    int n = snprintf(line, sizeof line, "%s%s %-6s %s%s msg=\"%s\"\n", prefix, stamp,
                     level_names[level], module, about_text, escaped);
    if (n > 0)
        (void)!write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static bool is_wanted(enum log_level level)
{
    int now = atomic_load(&log_level_now);
    if (now < 0) {
        now = level_from_environment();
        atomic_store(&log_level_now, now);
    }
    return (int)level <= now;
}

__attribute__((format(printf, 4, 0))) static void put(enum log_level level, const char *module,
                                                      const struct log_about *about,
                                                      const char *format, va_list args)
{
    char message[1024];
    const char *stream = getenv("JOURNAL_STREAM");
    vsnprintf(message, sizeof message, format, args);
    if (stderr_is_journal(stream) && send_to_journal(level, module, about, message))
        return;
    write_line(level, module, about, message, stream != NULL);
}

void log_about(enum log_level level, const char *module, const struct log_about *about,
               const char *format, ...)
{
    va_list args;
    if (!is_wanted(level))
        return;
    va_start(args, format);
    put(level, module, about, format, args);
    va_end(args);
}

void log_line(enum log_level level, const char *module, long long run, const char *format, ...)
{
    const struct log_about about = {.run = run};
    va_list args;
    if (!is_wanted(level))
        return;
    va_start(args, format);
    put(level, module, &about, format, args);
    va_end(args);
}
