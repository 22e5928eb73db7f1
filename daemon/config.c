/* See config.h. The table below is the only place that knows the keys. */
#include "daemon/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/address.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define FILE_MAX (1024 * 1024)
#define LINE_MAX 198 /* libinih cuts longer lines in two without a word */

enum key_type { KEY_PATH, KEY_PATHS, KEY_TEXT, KEY_HOSTS, KEY_BOOL, KEY_U32, KEY_U64 };

struct key {
    const char *name;
    enum key_type type;
    size_t offset, size;
    uint64_t min, max;
    const char *fallback; /* the default, as text */
    bool reloadable;
    const char *help;
};

#define FIELD(field)    offsetof(struct config, field), sizeof(((struct config *)0)->field)
#define U32_MAX_SECONDS 86400

static const struct key keys[] = {
    {"state_dir", KEY_PATH, FIELD(state_dir), 0, 0, "/var/lib/ijepad", false,
     "Folder of the databases, checkpoints and logs; on a local disk."},
    {"listen", KEY_TEXT, FIELD(listen), 0, 0, "127.0.0.1:8765", false,
     "TCP address of the API, ADDRESS:PORT; off = no TCP."},
    {"socket", KEY_PATH, FIELD(socket), 0, 0, "", false,
     "Unix socket of the API; empty = ijepad.sock in state_dir; off = none."},
    {"socket_group", KEY_TEXT, FIELD(socket_group), 0, 0, "", false,
     "Members of this group are administrators over the Unix socket; empty = none but root."},
    {"worker", KEY_PATH, FIELD(worker), 0, 0, "", false,
     "The worker program; empty = ijepad-worker beside ijepad."},
    {"gpu_probe", KEY_PATH, FIELD(gpu_probe), 0, 0, "", false,
     "The program that looks at the GPUs; empty = ijepad-worker beside ijepad; off = no GPUs."},
    {"hosts", KEY_HOSTS, FIELD(hosts), 0, 0, "", false,
     "Host names, parted by spaces, under which browsers may reach the API."},
    {"data_roots", KEY_PATHS, FIELD(data_roots), 0, 0, "", false,
     "Folders below which runs may name datasets, lists and directories of checkpoints; empty = "
     "anywhere."},
    {"allow_remote", KEY_BOOL, FIELD(allow_remote), 0, 0, "no", false,
     "yes: listen may be an address beyond loopback; put a TLS proxy in front of it."},
    {"open_metrics", KEY_BOOL, FIELD(open_metrics), 0, 0, "no", false,
     "yes: GET /metrics needs no token."},
    {"slots", KEY_U32, FIELD(slots), 1, 64, "1", true, "Runs at a time on the host backend."},
    {"threads", KEY_U32, FIELD(threads), 0, 1024, "0", true,
     "Threads of each run on the host backend; 0 = cores / slots."},
    {"start_timeout_s", KEY_U32, FIELD(start_timeout_s), 1, U32_MAX_SECONDS, "120", true,
     "A worker that has not reported by then is killed and started again."},
    {"hang_timeout_s", KEY_U32, FIELD(hang_timeout_s), 1, U32_MAX_SECONDS, "300", true,
     "A worker without progress for so long is taken to hang."},
    {"stop_grace_s", KEY_U32, FIELD(stop_grace_s), 1, U32_MAX_SECONDS, "120", true,
     "Time to save a checkpoint at a cancel or at the daemon's stop."},
    {"pause_grace_s", KEY_U32, FIELD(pause_grace_s), 1, U32_MAX_SECONDS, "120", true,
     "Time to save a checkpoint at a pause."},
    {"unkillable_s", KEY_U32, FIELD(unkillable_s), 1, U32_MAX_SECONDS, "60", true,
     "A worker that is still there so long after SIGKILL is reported, and its GPUs are cordoned."},
    {"retry_failures_max", KEY_U32, FIELD(retry_failures_max), 1, 1000, "5", true,
     "Failures of the same cause in a row after which a run is not started again."},
    {"retry_stuck_max", KEY_U32, FIELD(retry_stuck_max), 1, 1000, "3", true,
     "Failures without a newer checkpoint after which a run is quarantined."},
    {"retry_base_ms", KEY_U32, FIELD(retry_base_ms), 1, 3600000, "10000", true,
     "Wait before the first new start; doubles with each failure."},
    {"retry_cap_ms", KEY_U32, FIELD(retry_cap_ms), 1, 86400000, "360000", true,
     "The longest wait before a new start."},
    {"priority_age_s", KEY_U32, FIELD(priority_age_s), 0, 31536000, "3600", false,
     "Waiting for so long counts as one of priority; 0 = waiting counts for nothing."},
    {"preempt_min_runtime_s", KEY_U32, FIELD(preempt_min_runtime_s), 0, U32_MAX_SECONDS, "600",
     true, "A preemptible run is left alone for so long after each start."},
    {"preempt_max", KEY_U32, FIELD(preempt_max), 0, 1000, "3", true,
     "Times that one run may be preempted; 0 = never."},
    {"log_bytes_max", KEY_U64, FIELD(log_bytes_max), 4096, 1ull << 40, "67108864", true,
     "Size of one attempt's log; what comes after is dropped and the log says so."},
    {"disk_floor_bytes", KEY_U64, FIELD(disk_floor_bytes), 0, 1ull << 50, "1073741824", true,
     "With less free space in state_dir nothing is started."},
    {"body_bytes_max", KEY_U32, FIELD(body_bytes_max), 1024, 16777216, "1048576", false,
     "Largest body of an HTTP request."},
    {"connections_max", KEY_U32, FIELD(connections_max), 8, 4096, "256", false,
     "Connections at a time, for each listening socket."},
    {"streams_max", KEY_U32, FIELD(streams_max), 1, 2048, "32", false,
     "Event streams (GET /v1/events) at a time."},
    {"streams_per_token_max", KEY_U32, FIELD(streams_per_token_max), 1, 2048, "4", false,
     "Event streams at a time of one token."},
    {"quota_live_runs", KEY_U32, FIELD(quota_live_runs), 0, 1000000, "0", true,
     "Runs of one user that have not ended, at most; 0 = any number."},
    {"quota_devices", KEY_U32, FIELD(quota_devices), 0, 128, "0", true,
     "GPUs or slots that the runs of one user hold at a time, at most; 0 = any number."},
    {"backup_period_s", KEY_U32, FIELD(backup_period_s), 0, 604800, "3600", true,
     "Seconds between verified copies of state.db in state_dir/backups; 0 = none are made."},
    {"backup_keep", KEY_U32, FIELD(backup_keep), 1, 1000, "24", true, "How many of them are kept."},
    {"backup_metrics_period_s", KEY_U32, FIELD(backup_metrics_period_s), 0, 2592000, "86400", true,
     "The same for metrics.db, which is large; 0 = none are made."},
    {"backup_metrics_keep", KEY_U32, FIELD(backup_metrics_keep), 1, 1000, "1", true,
     "How many copies of metrics.db are kept."},
    {"wal_alarm_bytes", KEY_U64, FIELD(wal_alarm_bytes), 1024, 1ull << 40, "268435456", true,
     "Size of the databases' write-ahead logs beyond which the server says so."},
    {"dcgm_map_dir", KEY_PATH, FIELD(dcgm_map_dir), 0, 0, "", false,
     "Folder for files that tell dcgm-exporter which run holds which GPU; empty = none."},
    {"webhook_program", KEY_PATH, FIELD(webhook_program), 0, 0, "", false,
     "The program that sends webhooks; empty = ijepad-webhook beside ijepad."},
    {"webhook_socket", KEY_PATH, FIELD(webhook_socket), 0, 0, "", false,
     "Unix socket behind which that program runs as a service; empty = the daemon starts it."},
    {"webhook_allow_local", KEY_BOOL, FIELD(webhook_allow_local), 0, 0, "no", true,
     "yes: webhooks may lead to this machine itself or to link-local addresses."},
    {"webhook_tries", KEY_U32, FIELD(webhook_tries), 1, 20, "5", true,
     "Tries of one delivery before it is given up."},
    {"webhook_retry_base_ms", KEY_U32, FIELD(webhook_retry_base_ms), 1, 3600000, "10000", true,
     "Wait after the first failed try; four times as long after each further one, at most 1 h."},
    {"log_level", KEY_TEXT, FIELD(log_level), 0, 0, "", true,
     "err, warn, notice, info or debug; empty = as IJEPAD_LOG says, else info."},
};

static void *field_of(struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

static const void *field_of_const(const struct config *config, const struct key *key)
{
    return (const char *)config + key->offset;
}

static const struct key *key_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

static const char *key_nearest(const char *name)
{
    const char *names[COUNT_OF(keys)];
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        names[i] = keys[i].name;
    return text_nearest(name, names, COUNT_OF(keys));
}

/* ---- Values ---------------------------------------------------------------------------------- */

static enum ij_status set_number(struct config *config, const struct key *key, const char *text,
                                 struct ij_err *reterr_err)
{
    uint64_t value;
    if (!text_to_u64(text, &value) || value < key->min || value > key->max)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name,
                            "%s must be a whole number from %llu to %llu, not \"%.60s\"", key->name,
                            (unsigned long long)key->min, (unsigned long long)key->max, text);
    if (key->type == KEY_U32)
        *(uint32_t *)field_of(config, key) = (uint32_t)value;
    else
        *(uint64_t *)field_of(config, key) = value;
    return IJ_OK;
}

static enum ij_status set_text(struct config *config, const struct key *key, const char *text,
                               struct ij_err *reterr_err)
{
    bool off =
        !strcmp(text, "off") && (!strcmp(key->name, "listen") || !strcmp(key->name, "socket") ||
                                 !strcmp(key->name, "gpu_probe"));
    if (key->type == KEY_PATH && text[0] && text[0] != '/' && !off)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name,
                            "%s must be an absolute path, not \"%.200s\"", key->name, text);
    if (key->type == KEY_PATHS && !data_roots_are_valid(text))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name,
                            "%s must be absolute paths parted by ':', not \"%.200s\"", key->name,
                            text);
    if (strlen(text) >= key->size)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name, "%s is longer than %zu bytes",
                            key->name, key->size - 1);
    if (!strcmp(key->name, "log_level") && text[0] && !strstr(" err warn notice info debug ", text))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name,
                            "log_level must be err, warn, notice, info or debug, not \"%.60s\"",
                            text);
    snprintf(field_of(config, key), key->size, "%s", text);
    return IJ_OK;
}

static enum ij_status set_hosts(struct config *config, const struct key *key, const char *text,
                                struct ij_err *reterr_err)
{
    config->host_count = 0;
    for (const char *at = text + strspn(text, " ,"); *at; at += strspn(at, " ,")) {
        size_t n = strcspn(at, " ,");
        if (config->host_count == CONFIG_HOSTS_MAX || n >= CONFIG_HOST_MAX)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name,
                                "hosts takes at most %d names of %d bytes", CONFIG_HOSTS_MAX,
                                CONFIG_HOST_MAX - 1);
        snprintf(config->hosts[config->host_count++], CONFIG_HOST_MAX, "%.*s", (int)n, at);
        at += n;
    }
    return IJ_OK;
}

static enum ij_status set_bool(struct config *config, const struct key *key, const char *text,
                               struct ij_err *reterr_err)
{
    bool yes = strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "no") != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key->name,
                            "%s must be yes or no, not \"%.60s\"", key->name, text);
    *(bool *)field_of(config, key) = yes;
    return IJ_OK;
}

static enum ij_status set_value(struct config *config, const struct key *key, const char *text,
                                struct ij_err *reterr_err)
{
    switch (key->type) {
    case KEY_U32:
    case KEY_U64:
        return set_number(config, key, text, reterr_err);
    case KEY_BOOL:
        return set_bool(config, key, text, reterr_err);
    case KEY_HOSTS:
        return set_hosts(config, key, text, reterr_err);
    case KEY_PATH:
    case KEY_PATHS:
    case KEY_TEXT:
        break;
    }
    return set_text(config, key, text, reterr_err);
}

/* ---- Files ----------------------------------------------------------------------------------- */

struct reader {
    struct config config;
    bool seen[COUNT_OF(keys)];
    struct ij_err err; /* the first error; code IJ_OK while there is none */
};

/* libinih calls this for every line; 0 makes it remember the line's number. */
static int on_line(void *user, const char *section, const char *name, const char *value)
{
    struct reader *reader = user;
    if (reader->err.code != IJ_OK)
        return 0;
    if (section[0])
        return IJ_ERR_FIELD(&reader->err, IJ_INVALID, section, "[%.60s]: the file has no sections",
                            section) == IJ_OK;
    const struct key *key = key_find(name);
    if (!key) {
        const char *nearest = key_nearest(name);
        return IJ_ERR_FIELD(&reader->err, IJ_INVALID, name, "unknown key \"%.60s\"%s%s%s", name,
                            nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                            nearest ? "\"?" : "") == IJ_OK;
    }
    if (reader->seen[key - keys])
        return IJ_ERR_FIELD(&reader->err, IJ_INVALID, name, "%s is given twice", name) == IJ_OK;
    reader->seen[key - keys] = true;
    return set_value(&reader->config, key, value, &reader->err) == IJ_OK;
}

/* Every address of `listen`: well formed, and on this machine unless the file says otherwise. */
static enum ij_status check_listen(const struct config *config, struct ij_err *reterr_err)
{
    for (const char *at = config->listen; *(at += strspn(at, " "));) {
        char one[CONFIG_HOST_MAX];
        struct sockaddr_storage address;
        socklen_t size;
        size_t n = strcspn(at, " ");
        snprintf(one, sizeof(one), "%.*s", (int)n, at);
        if (!address_parse(one, &address, &size))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "listen",
                                "listen must be ADDRESS:PORT, like 127.0.0.1:8765 or [::1]:8765, "
                                "or off, not \"%.64s\"",
                                one);
        if (!config->allow_remote && !address_is_loopback((const struct sockaddr *)&address))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "listen",
                                "listen = %.64s is beyond loopback: put a TLS proxy in front "
                                "instead, or say allow_remote = yes",
                                one);
        at += n;
    }
    return IJ_OK;
}

/* What depends on other keys: defaults below state_dir, "off", and the socket's length. */
static enum ij_status finish(struct config *config, struct ij_err *reterr_err)
{
    if (!config->state_dir[0])
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "state_dir", "state_dir must not be empty");
    if (!strcmp(config->listen, "off"))
        config->listen[0] = '\0';
    IJ_TRY(check_listen(config, reterr_err));
    if (!strcmp(config->socket, "off"))
        config->socket[0] = '\0';
    else if (!config->socket[0] &&
             (size_t)snprintf(config->socket, sizeof(config->socket), "%s/ijepad.sock",
                              config->state_dir) >= sizeof(config->socket))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "state_dir", "state_dir is too long");
    if (strlen(config->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "socket",
                            "the socket's path \"%.200s\" is longer than the system's %zu bytes",
                            config->socket, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    return IJ_OK;
}

void config_defaults(struct config *config)
{
    *config = (struct config){0};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        IJ_ASSERT(set_value(config, &keys[i], keys[i].fallback, NULL) == IJ_OK);
    IJ_ASSERT(finish(config, NULL) == IJ_OK);
}

static enum ij_status check_lines(const char *text, const char *path, struct ij_err *reterr_err)
{
    int line = 1;
    for (const char *at = text; *at; line++) {
        size_t n = strcspn(at, "\n");
        if (n > LINE_MAX)
            return IJ_ERR(reterr_err, IJ_INVALID, "%s:%d: the line is longer than %d bytes", path,
                          line, LINE_MAX);
        at += n + (at[n] == '\n');
    }
    return IJ_OK;
}

/* Where a key is set; 1 where it is not. */
static int line_of(const char *text, const char *key)
{
    size_t size = strlen(key);
    int line = 1;
    for (const char *at = text; *at; line++) {
        const char *word = at + strspn(at, " \t");
        if (strncmp(word, key, size) == 0 && strspn(word + size, " \t=:"))
            return line;
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    return 1;
}

enum ij_status config_parse(const char *text, const char *path, struct config *ret_config,
                            struct ij_err *reterr_err)
{
    struct reader reader = {.err = IJ_ERR_INIT};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        IJ_ASSERT(set_value(&reader.config, &keys[i], keys[i].fallback, NULL) == IJ_OK);
    IJ_TRY(check_lines(text, path, reterr_err));
    int line = ini_parse_string(text, on_line, &reader);
    if (line < 0)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", path);
    if (line > 0 && reader.err.code == IJ_OK)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s:%d: expected \"key = value\"", path, line);
    if (line > 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, reader.err.field, "%s:%d: %s", path, line,
                            reader.err.text);
    enum ij_status status = finish(&reader.config, &reader.err);
    if (status != IJ_OK)
        return IJ_ERR_FIELD(reterr_err, status, reader.err.field, "%s:%d: %s", path,
                            line_of(text, reader.err.field), reader.err.text);
    *ret_config = reader.config;
    return IJ_OK;
}

enum ij_status config_load(const char *path, bool must_exist, struct config *ret_config,
                           struct ij_err *reterr_err)
{
    if (!must_exist && access(path, F_OK) < 0 && errno == ENOENT) {
        config_defaults(ret_config);
        return IJ_OK;
    }
    mem_auto char *text = NULL;
    size_t size;
    IJ_TRY(file_read(path, FILE_MAX, &text, &size, reterr_err));
    if (strlen(text) != size)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, path, "%s holds a NUL byte", path);
    return config_parse(text, path, ret_config, reterr_err);
}

void config_print(const struct config *config, struct buf *buf)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct key *key = &keys[i];
        const void *field = field_of_const(config, key);
        buf_printf(buf, "# %s\n%s = ", key->help, key->name);
        if (key->type == KEY_U32)
            buf_printf(buf, "%u", *(const uint32_t *)field);
        else if (key->type == KEY_U64)
            buf_printf(buf, "%llu", (unsigned long long)*(const uint64_t *)field);
        else if (key->type == KEY_BOOL)
            buf_append_text(buf, *(const bool *)field ? "yes" : "no");
        else if (key->type == KEY_HOSTS)
            for (size_t h = 0; h < config->host_count; h++)
                buf_printf(buf, "%s%s", h ? " " : "", config->hosts[h]);
        else if (!*(const char *)field &&
                 (!strcmp(key->name, "listen") || !strcmp(key->name, "socket")))
            buf_append_text(buf, "off");
        else
            buf_append_text(buf, field);
        buf_append_text(buf, "\n");
    }
}

/* Bytes behind a text's end are of no meaning. */
static bool is_same(const struct config *a, const struct config *b, const struct key *key)
{
    const void *left = field_of_const(a, key), *right = field_of_const(b, key);
    if (key->type == KEY_PATH || key->type == KEY_PATHS || key->type == KEY_TEXT)
        return strcmp(left, right) == 0;
    if (key->type != KEY_HOSTS)
        return memcmp(left, right, key->size) == 0;
    bool same = a->host_count == b->host_count;
    for (size_t i = 0; i < a->host_count && same; i++)
        same = strcmp(a->hosts[i], b->hosts[i]) == 0;
    return same;
}

void config_reload(struct config *config, const struct config *fresh, struct buf *left)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (is_same(config, fresh, &keys[i]))
            continue;
        if (keys[i].reloadable)
            memcpy(field_of(config, &keys[i]), field_of_const(fresh, &keys[i]), keys[i].size);
        else
            buf_printf(left, "%s%s", left->size ? ", " : "", keys[i].name);
    }
}

/* ---- Documentation --------------------------------------------------------------------------- */

static void print_values(const struct key *key, struct buf *buf)
{
    switch (key->type) {
    case KEY_U32:
    case KEY_U64:
        buf_printf(buf, "%llu to %llu", (unsigned long long)key->min, (unsigned long long)key->max);
        return;
    case KEY_BOOL:
        buf_append_text(buf, "yes, no");
        return;
    case KEY_HOSTS:
        buf_printf(buf, "at most %d names", CONFIG_HOSTS_MAX);
        return;
    case KEY_PATH:
        buf_append_text(buf, "absolute path");
        return;
    case KEY_PATHS:
        buf_append_text(buf, "absolute paths, parted by `:`");
        return;
    case KEY_TEXT:
        buf_append_text(buf, "text");
        return;
    }
}

void config_page(struct buf *buf)
{
    buf_append_text(
        buf,
        "# Configuration\n\nMade by `ijepad configuration > docs/configuration.md` from the "
        "table in daemon/config.c; a test compares them.\n\n"
        "One `key = value` a line, `;` or `#` begins a comment, no sections. The file is "
        "`" CONFIG_DEFAULT_FILE "` unless `--config` names another.\n"
        "An unknown key, a key given twice or a value out of range is an error that names file, "
        "line and what was expected, and the exit code is 78.\n"
        "`ijepad --check-config` checks and changes nothing; `ijepad --print-config` prints every "
        "key with the value that holds.\n\n"
        "SIGHUP (`systemctl reload ijepad`) reads the file again. What is marked so takes effect "
        "at once, for what is begun from then on; the log names other keys that have changed, "
        "which wait for a restart.\nA wrong file changes nothing.\n\n"
        "| key | values | default | at SIGHUP | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        buf_printf(buf, "| `%s` | ", keys[i].name);
        print_values(&keys[i], buf);
        buf_printf(buf, " | %s%s%s | %s | %s |\n", keys[i].fallback[0] ? "`" : "",
                   keys[i].fallback[0] ? keys[i].fallback : "empty", keys[i].fallback[0] ? "`" : "",
                   keys[i].reloadable ? "yes" : "", keys[i].help);
    }
}
