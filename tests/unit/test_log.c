/* Log lines: shape, levels, and that hostile text cannot forge a line. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODULE "test"
#include "base/log.h"

static char output[16384];

/* What `act` writes to stderr. */
static const char *capture(void (*act)(void))
{
    int fds[2], saved = dup(STDERR_FILENO);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    dup2(fds[1], STDERR_FILENO);
    act();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], output, sizeof output - 1);
    close(fds[0]);
    output[n > 0 ? n : 0] = '\0';
    return output;
}

static void one_line(void)
{
    log_line(LOG_LEVEL_WARN, "sched", 42, "run %d is late", 42);
}

Test(log, a_line_has_time_level_module_run_and_message)
{
    unsetenv("JOURNAL_STREAM");
    const char *line = capture(one_line);
    int year, used = 0;
    cr_assert_eq(sscanf(line, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %n", &year, &used), 1);
    cr_assert_str_eq(line + used, "warn   sched run=r42 msg=\"run 42 is late\"\n");
}

Test(log, something_else_than_the_journal_gets_a_priority)
{
    setenv("JOURNAL_STREAM", "1:2", 1);
    cr_assert_eq(strncmp(capture(one_line), "<4>", 3), 0);
}

/* ---- The journal ---- */

static char sent[4096];
static int answer;

static int keep(const struct iovec *fields, int count)
{
    sent[0] = '\0';
    for (int i = 0; i < count; i++) {
        strncat(sent, fields[i].iov_base, fields[i].iov_len);
        strncat(sent, "|", 2);
    }
    return answer;
}

/* Names the stderr of the moment, a pipe, as the journal's stream. */
static void as_journal(void)
{
    char stream[64];
    struct stat st;
    cr_assert_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_set_journal(keep);
    log_about(LOG_LEVEL_ERR, "gpus",
              &(struct log_about){.message = LOG_MESSAGE_GPU_FAULT, .run = 42, .gpu = "GPU-1"},
              "Xid %d\nPRIORITY=0", 79);
}

Test(log, the_journal_gets_fields)
{
    cr_assert_str_eq(capture(as_journal), "", "and stderr nothing");
    cr_assert_str_eq(sent,
                     "MESSAGE=Xid 79\nPRIORITY=0|PRIORITY=3|SYSLOG_IDENTIFIER=ijepad|"
                     "IJEPAD_MODULE=gpus|MESSAGE_ID=e08102497b68462995192452c1374d23|"
                     "IJEPAD_EVENT=gpu.fault|IJEPAD_RUN=r42|IJEPAD_GPU=GPU-1|",
                     "one field each: a line break does not make another");
}

Test(log, without_a_journal_the_line_is_written)
{
    answer = -1;
    const char *line = capture(as_journal);
    cr_assert_eq(strncmp(line, "<3>", 3), 0, "%s", line);
    cr_assert(strstr(line, "event=gpu.fault run=r42 gpu=GPU-1 msg=\"Xid 79\\x0aPRIORITY=0\""), "%s",
              line);
}

static void hostile_line(void)
{
    log_info("%s", "a\"b\\c\nlevel=err msg=\"forged\x1b[31m");
}

Test(log, hostile_text_stays_one_line)
{
    const char *line = capture(hostile_line);
    cr_assert(strstr(line, "msg=\"a\\\"b\\\\c\\x0alevel=err msg=\\\"forged\\x1b[31m\"\n"), "%s",
              line);
    cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1);
}

static void every_level(void)
{
    log_err("L0");
    log_warn("L1");
    log_notice("L2");
    log_info("L3");
    log_debug("L4");
}

Test(log, the_level_decides)
{
    static const char *const names[] = {"err", "warn", "notice", "info", "debug"};
    for (int level = 0; level < 5; level++) {
        cr_assert_eq(log_set_level_name(names[level]), 0);
        const char *lines = capture(every_level);
        for (char message = '0'; message < '5'; message++) {
            char text[] = {'L', message, '\0'};
            cr_assert_eq(strstr(lines, text) != NULL, message - '0' <= level);
        }
    }
    cr_assert_eq(log_set_level_name("loud"), -1);
    cr_assert_eq(log_set_level_name(""), -1);
    cr_assert(strstr(capture(every_level), "L4"), "an unknown name changes nothing");
}

Test(log, the_environment_sets_the_level)
{
    setenv("IJEPAD_LOG", "warn", 1);
    const char *lines = capture(every_level);
    cr_assert(strstr(lines, "L1") && !strstr(lines, "L2"));
}

static void long_line(void)
{
    char text[8000];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_err("%s", text);
}

Test(log, a_long_message_is_cut_and_the_line_still_ends)
{
    const char *line = capture(long_line);
    size_t n = strlen(line);
    cr_assert_lt(n, 3000);
    cr_assert_eq(strcmp(line + n - 2, "\"\n"), 0, "%s", line + n - 10);
}
