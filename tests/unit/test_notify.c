/* What systemd hears: READY, STATUS, and WATCHDOG only while everything is alive. */
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "tests/unit/store_fixture.h"

static int supervisor_fd = -1;
static int64_t silent_ms;

static int64_t silence(const void *user)
{
    (void)user;
    return silent_ms;
}

static void listen_for_messages(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/notify", fixture_dir);
    supervisor_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(supervisor_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

/* Everything said since the last call, one message per line. */
static const char *heard(void)
{
    static char text[4096];
    size_t used = 0;
    text[0] = '\0';
    for (ssize_t n; (n = recv(supervisor_fd, text + used, sizeof(text) - used - 2, 0)) > 0;) {
        used += (size_t)n;
        text[used++] = '\n';
        text[used] = '\0';
    }
    return text;
}

static void start(struct daemon *daemon, struct notify *notify)
{
    fixture_open();
    listen_for_messages();
    *daemon = (struct daemon){.store = store};
    cr_assert_geq(sd_event_new(&daemon->event), 0);
    *notify = (struct notify){.daemon = daemon, .silence_ms = silence};
    OK(notify_start(notify, &err));
}

static void finish(struct daemon *daemon, struct notify *notify)
{
    notify_done(notify);
    sd_event_unref(daemon->event);
    close(supervisor_fd);
    fixture_close();
}

Test(notify, says_ready_with_a_status_and_feeds_the_watchdog)
{
    struct daemon daemon;
    struct notify notify;
    silent_ms = 0;
    start(&daemon, &notify);
    const char *text = heard();
    cr_expect_not_null(strstr(text, "READY=1\n"), "%s", text);
    cr_expect_not_null(strstr(text, "STATUS=0 running, 0 queued\n"), "%s", text);
    cr_expect_not_null(strstr(text, "WATCHDOG=1\n"), "%s", text);
    finish(&daemon, &notify);
}

Test(notify, a_silent_http_thread_starves_the_watchdog)
{
    struct daemon daemon;
    struct notify notify;
    silent_ms = 10001;
    start(&daemon, &notify);
    const char *text = heard();
    cr_expect_not_null(strstr(text, "STATUS="), "%s", text);
    cr_expect_null(strstr(text, "WATCHDOG=1"), "%s", text);
    finish(&daemon, &notify);
}

Test(notify, a_silence_at_the_limit_is_none)
{
    struct daemon daemon;
    struct notify notify;
    silent_ms = 10000;
    start(&daemon, &notify);
    cr_expect_not_null(strstr(heard(), "WATCHDOG=1\n"));
    finish(&daemon, &notify);
}

Test(notify, a_store_that_does_not_answer_starves_the_watchdog)
{
    struct daemon daemon;
    struct notify notify;
    silent_ms = 0;
    fixture_open();
    listen_for_messages();
    fixture_sql("state.db", "PRAGMA foreign_keys=OFF; ALTER TABLE run RENAME TO lost");
    daemon = (struct daemon){.store = store};
    cr_assert_geq(sd_event_new(&daemon.event), 0);
    notify = (struct notify){.daemon = &daemon, .silence_ms = silence};
    OK(notify_start(&notify, &err));
    const char *text = heard();
    cr_expect_not_null(strstr(text, "READY=1\n"), "%s", text);
    cr_expect_null(strstr(text, "WATCHDOG=1"), "%s", text);
    finish(&daemon, &notify);
}

Test(notify, stopping_asks_for_the_time_that_saving_takes)
{
    struct daemon daemon;
    struct notify notify;
    silent_ms = 0;
    start(&daemon, &notify);
    heard();
    daemon.config.stop_grace_s = 120;
    notify_stopping(&notify);
    const char *text = heard();
    cr_expect_not_null(strstr(text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=150000000\n"), "%s", text);
    finish(&daemon, &notify);
}
