/* The configuration: defaults, every key read back, and errors that name the line and the key. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

static void expect_refusal(const char *text, const char *field, const char *part)
{
    struct config config;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(config_parse(text, "a.conf", &config, &err), IJ_INVALID, "%s", text);
    cr_assert_str_eq(err.field, field, "%s: field \"%s\"", text, err.field);
    cr_assert_not_null(strstr(err.text, part), "%s: \"%s\" lacks \"%s\"", text, err.text, part);
}

Test(config, defaults)
{
    struct config config;
    config_defaults(&config);
    cr_assert_str_eq(config.listen, "127.0.0.1:8765");
    cr_assert_str_eq(config.state_dir, "/var/lib/ijepad");
    cr_assert_str_eq(config.socket, "/var/lib/ijepad/ijepad.sock");
    cr_assert_eq(config.slots, 1);
    cr_assert_not(config.allow_remote);
}

Test(config, values_and_comments)
{
    struct config config;
    cr_assert_eq(config_parse("# a comment\n; another\nstate_dir = /x\nslots=3\n"
                              "hosts = gpu1.lab, gpu2.lab:443\nlisten = off\n",
                              "a.conf", &config, NULL),
                 IJ_OK);
    cr_assert_str_eq(config.state_dir, "/x");
    cr_assert_str_eq(config.socket, "/x/ijepad.sock");
    cr_assert_str_eq(config.listen, "");
    cr_assert_eq(config.slots, 3);
    cr_assert_eq(config.host_count, 2);
    cr_assert_str_eq(config.hosts[1], "gpu2.lab:443");
}

Test(config, errors_name_line_and_key)
{
    expect_refusal("state_dir = /x\nslotz = 2\n", "slotz", "a.conf:2: ");
    expect_refusal("slotz = 2\n", "slotz", "did you mean \"slots\"");
    expect_refusal("\n\nslots = two\n", "slots", "a.conf:3: ");
    expect_refusal("slots = 1\nslots = 2\n", "slots", "twice");
    expect_refusal("[daemon]\nslots = 1\n", "daemon", "no sections");
    expect_refusal("slots 1\n", "", "a.conf:1: ");
    expect_refusal("state_dir = relative\n", "state_dir", "absolute");
    expect_refusal("log_level = loud\n", "log_level", "err, warn");
    expect_refusal("data_roots = /data:scratch\n", "data_roots", "absolute paths");
    expect_refusal("allow_remote = maybe\n", "allow_remote", "yes or no");
}

Test(config, where_it_listens_is_checked_before_it_listens)
{
    static const char *const good[] = {"127.0.0.1:0", "[::1]:8765", "localhost:1",
                                       "127.0.0.1:1 [::1]:1", "off"};
    char text[128];
    struct config config;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof(text), "listen = %s\n", good[i]);
        cr_assert_eq(config_parse(text, "a.conf", &config, NULL), IJ_OK, "%s", good[i]);
    }
    expect_refusal("slots = 1\nlisten = 127.0.0.1:65536\n", "listen", "a.conf:2: ");
    expect_refusal("listen = 8765\n", "listen", "ADDRESS:PORT");
    expect_refusal("listen = gpu1.lab:8765\n", "listen", "ADDRESS:PORT");
    expect_refusal("listen = 127.0.0.1:1 0.0.0.0:1\n", "listen", "allow_remote = yes");
    cr_assert_eq(config_parse("listen = 0.0.0.0:1\nallow_remote = yes\n", "a.conf", &config, NULL),
                 IJ_OK);
}

Test(config, ranges_end_exactly)
{
    struct config config;
    cr_assert_eq(config_parse("slots = 64\n", "a.conf", &config, NULL), IJ_OK);
    expect_refusal("slots = 65\n", "slots", "from 1 to 64");
    expect_refusal("slots = 0\n", "slots", "from 1 to 64");
    expect_refusal("slots = -1\n", "slots", "from 1 to 64");
}

Test(config, long_lines_are_refused_not_cut)
{
    char text[300];
    struct config config;
    snprintf(text, sizeof(text), "socket = off\nstate_dir = /%0185d\n", 0);
    cr_assert_eq(strlen(strchr(text, '\n') + 1), 199, "198 bytes and the newline");
    cr_assert_eq(config_parse(text, "a.conf", &config, NULL), IJ_OK);
    cr_assert_eq(strlen(config.state_dir), 186);
    snprintf(text, sizeof(text), "state_dir = /%0186d\n", 0);
    expect_refusal(text, "", "longer than 198");
}

Test(config, long_socket_paths_are_refused)
{
    char text[300];
    struct config config;
    snprintf(text, sizeof(text), "socket = /%0106d\n", 0); /* 107 bytes, the system's limit */
    cr_assert_eq(config_parse(text, "a.conf", &config, NULL), IJ_OK);
    snprintf(text, sizeof(text), "socket = /%0107d\n", 0);
    expect_refusal(text, "socket", "longer than");
}

Test(config, what_is_printed_reads_back)
{
    struct config first, second;
    struct buf text;
    buf_init(&text, 1 << 20);
    cr_assert_eq(config_parse("state_dir = /x\nlisten = off\nsocket = off\nslots = 7\n"
                              "hosts = a.b c.d\nopen_metrics = yes\nretry_base_ms = 5\n",
                              "a.conf", &first, NULL),
                 IJ_OK);
    config_print(&first, &text);
    cr_assert_eq(config_parse(text.data, "b.conf", &second, NULL), IJ_OK);
    cr_assert_eq(memcmp(&first, &second, sizeof(first)), 0);
    buf_done(&text);
}

Test(config, a_missing_file_is_an_error_only_when_named)
{
    struct config config;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(config_load("/nonexistent/ijepad.conf", false, &config, NULL), IJ_OK);
    cr_assert_neq(config_load("/nonexistent/ijepad.conf", true, &config, &err), IJ_OK);
    cr_assert_not_null(strstr(err.text, "/nonexistent/ijepad.conf"));
}

Test(config, reload_takes_only_reloadable_keys)
{
    struct config config, fresh;
    config_defaults(&config);
    cr_assert_eq(config_parse("state_dir = /y\nslots = 5\nhosts = a\n", "a.conf", &fresh, NULL),
                 IJ_OK);
    struct buf left;
    buf_init(&left, 4096);
    config_reload(&config, &fresh, &left);
    cr_assert_eq(config.slots, 5);
    cr_assert_eq(config.host_count, 0);
    cr_assert_str_eq(config.state_dir, "/var/lib/ijepad");
    cr_assert_str_eq(left.data, "state_dir, socket, hosts", "and what waits is named");
    buf_done(&left);
    buf_init(&left, 4096);
    cr_assert_eq(config_parse("slots = 5", "a.conf", &fresh, NULL), IJ_OK);
    config_reload(&config, &fresh, &left);
    cr_assert_eq(left.size, 0, "%s", left.data);
    buf_done(&left);
}

Test(config, what_else_is_refused)
{
    char text[4096], name[100], file[] = "/tmp/ijepad-config-XXXXXX";
    struct config config;
    struct ij_err err = IJ_ERR_INIT;
    expect_refusal("state_dir =\n", "state_dir", "must not be empty");
    expect_refusal("socket = off\nlisten = off\nno_such_key_at_all = 1\n", "no_such_key_at_all",
                   "unknown key");
    expect_refusal("slotz = 2\n", "slotz", "did you mean \"slots\"");
    expect_refusal("slots = 2\nslots = 2\n", "slots", "given twice");
    expect_refusal("[part]\nslots = 2\n", "part", "no sections");
    expect_refusal("log_level = loud\n", "log_level", "not \"loud\"");
    expect_refusal("worker = relative/path\n", "worker", "absolute path");
    expect_refusal("slots = 1\nno equals sign\n", "", "expected \"key = value\"");
    memset(name, 'h', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    size_t used = (size_t)snprintf(text, sizeof text, "hosts = ");
    for (int i = 0; i <= CONFIG_HOSTS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "h%d,", i);
    expect_refusal(text, "hosts", "at most");
    snprintf(text, sizeof text, "log_level = %s\n", name);
    expect_refusal(text, "log_level", "longer than");
    int fd = mkstemp(file);
    cr_assert(fd >= 0 && write(fd, "slots = 1\0\n", 11) == 11);
    close(fd);
    cr_expect_eq(config_load(file, true, &config, &err), IJ_INVALID);
    cr_expect_not_null(strstr(err.text, "NUL"), "%s", err.text);
    unlink(file);
    cr_expect_eq(config_load("/proc/self", true, &config, &err) == IJ_OK, false, "a folder");
    cr_expect_eq(config_load("/nonexistent/ijepad.conf", false, &config, &err), IJ_OK);
}

Test(config, a_reload_tells_hosts_apart)
{
    struct config config, fresh;
    struct buf left;
    cr_assert_eq(config_parse("hosts = a, b\n", "x", &config, NULL), IJ_OK);
    static const char *const others[] = {"hosts = a, b\n", "hosts = a\n", "hosts = a, c\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        buf_init(&left, 4096);
        cr_assert_eq(config_parse(others[i], "x", &fresh, NULL), IJ_OK);
        config_reload(&config, &fresh, &left);
        cr_expect_eq(buf_status(&left), IJ_OK);
        buf_done(&left);
    }
}

Test(config, every_key_is_on_the_page)
{
    struct buf page;
    buf_init(&page, 1 << 20);
    config_page(&page);
    cr_assert_eq(buf_status(&page), IJ_OK);
    cr_expect(strstr(page.data, "state_dir") && strstr(page.data, "log_level"));
    cr_expect_null(strstr(page.data, "(null)"));
    buf_done(&page);
}
