/*
 * Log lines in logfmt on stderr: `level module key=value ... msg="text"`.
 *
 * Only the roots and the daemon's own modules log above debug; base, store and gpu return errors.
 * Thread-safe: a line is one write(2). The level is read once from IJEPAD_LOG (err, warn, notice,
 * info, debug; default info).
 *
 * Where stderr is the journal itself (JOURNAL_STREAM names its device and inode), entries go there
 * with fields instead: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, IJEPAD_MODULE, and where they apply
 * MESSAGE_ID, IJEPAD_EVENT, IJEPAD_RUN, IJEPAD_GPU. Where JOURNAL_STREAM is set but stderr is
 * something else, or the journal does not take the entry, lines carry the <n> priority prefix.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <sys/uio.h>

#include "base/log_message.h"

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* Empty string or unknown text leaves the level as it is and returns -1. */
int log_set_level_name(const char *name);

/* `format` makes the msg value; it is quoted and control bytes are escaped. `run` 0 means none. */
__attribute__((format(printf, 4, 5))) void log_line(enum log_level level, const char *module,
                                                    long long run, const char *format, ...);

/* What a line is about; zero members are left out. */
struct log_about {
    enum log_message message;
    long long run;
    const char *gpu; /* UUID */
};
__attribute__((format(printf, 4, 5))) void log_about(enum log_level level, const char *module,
                                                     const struct log_about *about,
                                                     const char *format, ...);

/* Tests: who takes entries instead of sd_journal_sendv; NULL: that again. */
void log_set_journal(int (*sendv)(const struct iovec *fields, int count));

/* log_message(LOG_LEVEL_ERR, DEGRADED, "...") */
#define log_message(level, code, ...)                                                              \
    log_about((level), LOG_MODULE, &(struct log_about){.message = LOG_MESSAGE_##code}, __VA_ARGS__)
/* The same about a run. */
#define log_run(level, code, number, ...)                                                          \
    log_about((level), LOG_MODULE,                                                                 \
              &(struct log_about){.message = LOG_MESSAGE_##code, .run = (number)}, __VA_ARGS__)
#define log_err(...)    log_line(LOG_LEVEL_ERR, LOG_MODULE, 0, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_LEVEL_WARN, LOG_MODULE, 0, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, LOG_MODULE, 0, __VA_ARGS__)
#define log_info(...)   log_line(LOG_LEVEL_INFO, LOG_MODULE, 0, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_LEVEL_DEBUG, LOG_MODULE, 0, __VA_ARGS__)

#endif
