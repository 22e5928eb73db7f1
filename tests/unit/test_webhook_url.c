/* Targets of webhooks: what is a URL here, and what leads to this machine however it is written. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/webhook_url.h"

static struct ij_err err;

static enum ij_status check(const char *url, bool allow_local)
{
    err = (struct ij_err)IJ_ERR_INIT;
    return webhook_url_check(url, allow_local, &err);
}

Test(webhook_url, good_ones)
{
    static const char *const good[] = {
        "http://example.org",
        "https://example.org/",
        "HTTPS://Example.ORG:8443/a?b=c&d",
        "http://10.0.0.7/hook",
        "http://192.168.1.5:65535/",
        "http://[2001:db8::1]:80/x",
        "http://hooks_1.lab.local/",
        "https://example.org?token=%20",
        "http://172.16.0.1",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert_eq(check(good[i], false), IJ_OK, "%s: %s", good[i], err.text);
}

Test(webhook_url, local_ones_only_where_they_are_allowed)
{
    static const char *const local[] = {
        "http://127.0.0.1/",         "http://127.255.255.254:1/",
        "http://localhost/",         "http://a.localhost:80/",
        "http://localhost./",        "http://127.1/",
        "http://0177.0.0.1/",        "http://0x7f.1/",
        "http://2130706433/",        "http://0.0.0.0/",
        "http://169.254.1.1/",       "http://[::1]/",
        "http://[::ffff:7f00:1]/",   "http://[fe80::1]/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
        "http://255.255.255.255/",   "http://[ff02::1]/",
    };
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) {
        cr_assert_eq(check(local[i], false), IJ_INVALID, "%s", local[i]);
        cr_assert(strstr(err.text, "webhook_allow_local"), "%s: %s", local[i], err.text);
        cr_assert_eq(check(local[i], true), IJ_OK, "%s: %s", local[i], err.text);
    }
}

Test(webhook_url, others_never)
{
    static const char *const bad[] = {
        "",
        "x",
        "//x/",
        "http:/x",
        "ftp://x/",
        "javascript:alert(1)",
        "http://",
        "http:///a",
        "http://:80/",
        "http://x:/",
        "http://x:0/",
        "http://x:65536/",
        "http://x:1x/",
        "http://u@x/",
        "http://u:p@x/",
        "http://x y/",
        "http://x/\n",
        "http://x/\x7f",
        "http://x/#f",
        "http://[x]/",
        "http://[::1",
        "http://[::1]x/",
        "http://-x/",
        "http://x/<",
        "http://x|y/",
        "http://\xc3\xa4.org/",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(check(bad[i], true), IJ_INVALID, "%s", bad[i]);
        cr_assert_str_eq(err.field, "/url");
    }
}

Test(webhook_url, length_at_the_limit_and_one_more)
{
    char url[WEBHOOK_URL_MAX + 2];
    memset(url, 'a', sizeof url);
    memcpy(url, "http://x/", 9);
    url[WEBHOOK_URL_MAX] = '\0';
    cr_assert_eq(check(url, false), IJ_OK);
    url[WEBHOOK_URL_MAX] = 'a';
    url[WEBHOOK_URL_MAX + 1] = '\0';
    cr_assert_eq(check(url, false), IJ_INVALID);
    char host[300] = "http://";
    memset(host + 7, 'a', 253);
    cr_assert_eq(check(host, false), IJ_OK, "%s", err.text);
    host[7 + 253] = 'a';
    cr_assert_eq(check(host, false), IJ_INVALID);
}
