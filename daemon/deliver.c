/*
 * ijepad-webhook: the one program of ijepad that opens connections to elsewhere. It knows no secret
 * and no state: it takes letters from a socket (daemon/courier.h says their form), posts each, and
 * says what came of it. Any number are under way at once; one that hangs delays no other.
 *
 * Descriptor 3 is either one end of a socket pair, and the program ends with it, or a listening
 * socket passed in by systemd, and it serves one connection after the other.
 *
 * Redirections are not followed, proxies of the environment are not used, and every address is
 * checked at the moment of connecting, whatever its name had stood for before.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/courier.h"
#include "daemon/wire.h"

#define LOG_MODULE       "webhook"
#define LETTERS_MAX      64
#define ANSWER_BYTES_MAX 65536
#define TIMEOUT_MAX_MS   60000

struct letter {
    json_int_t id;
    CURL *easy;
    struct curl_slist *headers;
    bool allow_local, refused, enough;
    size_t read;
    char error[CURL_ERROR_SIZE];
};

struct deliver {
    CURLM *multi;
    int fd; /* of the daemon; -1: gone */
    struct letter *letters[LETTERS_MAX];
};

/* ---- What libcurl asks ----------------------------------------------------------------------- */

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct letter *letter = user;
    (void)purpose;
    if (!letter->allow_local && address_is_local(&address->addr)) {
        letter->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The answer's body is of no interest; one without end is cut off. */
static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct letter *letter = user;
    (void)data;
    letter->read += size * count;
    letter->enough = letter->read > ANSWER_BYTES_MAX;
    return letter->enough ? 0 : size * count;
}

/* ---- Letters --------------------------------------------------------------------------------- */

static void tell(struct deliver *deliver, const struct letter *letter, long http, const char *error)
{
    json_t *object = json_pack("{s:I, s:i, s:b, s:s}", "id", letter->id, "http", (int)http,
                               "refused", letter->refused, "error", error);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (text && deliver->fd >= 0 && send(deliver->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        log_warn("cannot tell the daemon: %s", strerror(errno));
    free(text);
    json_decref(object);
}

static void letter_free(struct deliver *deliver, struct letter *letter)
{
    for (size_t i = 0; i < LETTERS_MAX; i++)
        if (deliver->letters[i] == letter)
            deliver->letters[i] = NULL;
    if (letter->easy) {
        (void)curl_multi_remove_handle(deliver->multi, letter->easy);
        curl_easy_cleanup(letter->easy);
    }
    curl_slist_free_all(letter->headers);
    mem_free(letter);
}

static bool set_options(struct letter *letter, const json_t *object)
{
    const char *url = json_string_value(json_object_get(object, "url"));
    const json_t *body = json_object_get(object, "body"),
                 *headers = json_object_get(object, "headers");
    json_int_t timeout_ms = json_integer_value(json_object_get(object, "timeout_ms"));
    CURL *easy = letter->easy;
    if (!url || !json_is_string(body) || timeout_ms < 1 || timeout_ms > TIMEOUT_MAX_MS)
        return false;
    for (size_t i = 0; i < json_array_size(headers); i++) {
        const char *line = json_string_value(json_array_get(headers, i));
        struct curl_slist *longer = line ? curl_slist_append(letter->headers, line) : NULL;
        if (!longer)
            return false;
        letter->headers = longer;
    }
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, url);
    code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    code |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    code |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
    code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    code |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, letter->headers);
    code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)json_string_length(body));
    code |= curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, json_string_value(body));
    code |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    code |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, letter);
    code |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    code |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, letter);
    code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, letter->error);
    code |= curl_easy_setopt(easy, CURLOPT_PRIVATE, letter);
    return code == CURLE_OK;
}

static size_t free_place(const struct deliver *deliver)
{
    size_t place = 0;
    while (place < LETTERS_MAX && deliver->letters[place])
        place++;
    return place;
}

static void take_letter(struct deliver *deliver, const char *packet, size_t size)
{
    json_t *object = json_loadb(packet, size, JSON_REJECT_DUPLICATES, NULL);
    struct letter *letter = mem_new(struct letter);
    size_t place = free_place(deliver);
    if (!letter) {
        json_decref(object);
        return; /* the daemon's deadline answers */
    }
    letter->id = json_integer_value(json_object_get(object, "id"));
    letter->allow_local = json_is_true(json_object_get(object, "allow_local"));
    letter->easy = curl_easy_init();
    if (!letter->easy || place == LETTERS_MAX) {
        tell(deliver, letter, 0, "the sending process is full");
        letter_free(deliver, letter);
    } else if (!set_options(letter, object) ||
               curl_multi_add_handle(deliver->multi, letter->easy) != CURLM_OK) {
        tell(deliver, letter, 0, "the message cannot be read");
        letter_free(deliver, letter);
    } else {
        deliver->letters[place] = letter;
    }
    json_decref(object);
}

static void finish_letter(struct deliver *deliver, CURL *easy, CURLcode code)
{
    struct letter *letter = NULL;
    long http = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&letter);
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &http);
    bool heard = code == CURLE_OK || letter->enough;
    if (letter->refused && !heard)
        tell(deliver, letter, 0, "the target is this machine or its link, which is not allowed");
    else if (heard)
        tell(deliver, letter, http, "");
    else
        tell(deliver, letter, 0, letter->error[0] ? letter->error : curl_easy_strerror(code));
    letter_free(deliver, letter);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void read_letters(struct deliver *deliver)
{
    static char packet[COURIER_PACKET_MAX + 1];
    for (;;) {
        ssize_t n = recv(deliver->fd, packet, sizeof packet, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            mem_close_fd_at(&deliver->fd);
            deliver->fd = -1;
            return;
        }
        take_letter(deliver, packet, (size_t)n);
    }
}

/* Serves one connection to its end. */
static void serve(struct deliver *deliver)
{
    while (deliver->fd >= 0) {
        struct curl_waitfd wait = {.fd = deliver->fd, .events = CURL_WAIT_POLLIN};
        int running = 0, left;
        CURLMsg *message;
        (void)curl_multi_perform(deliver->multi, &running);
        while ((message = curl_multi_info_read(deliver->multi, &left)))
            if (message->msg == CURLMSG_DONE)
                finish_letter(deliver, message->easy_handle, message->data.result);
        (void)curl_multi_poll(deliver->multi, &wait, 1, 60000, NULL);
        if (wait.revents)
            read_letters(deliver);
    }
    for (size_t i = 0; i < LETTERS_MAX; i++)
        if (deliver->letters[i])
            letter_free(deliver, deliver->letters[i]);
}

static int run(void)
{
    struct deliver deliver = {.multi = curl_multi_init(), .fd = -1};
    bool listening = sd_is_socket(WIRE_FD, AF_UNIX, SOCK_SEQPACKET, 1) > 0;
    if (!deliver.multi)
        return ij_status_exit_code(IJ_NO_MEMORY);
    if (!listening && sd_is_socket(WIRE_FD, AF_UNIX, SOCK_SEQPACKET, 0) <= 0) {
        log_err("descriptor %d is no socket: this program is started by ijepad or by systemd",
                WIRE_FD);
        return ij_status_exit_code(IJ_INVALID);
    }
    (void)sd_notify(0, "READY=1");
    do {
        deliver.fd = listening ? accept4(WIRE_FD, NULL, NULL, SOCK_CLOEXEC) : WIRE_FD;
        if (deliver.fd >= 0)
            serve(&deliver);
    } while (listening);
    (void)curl_multi_cleanup(deliver.multi);
    return 0;
}

int main(int argc, char **argv)
{
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        puts("ijepad-webhook posts messages for ijepad, which starts it; it takes no arguments.");
        return 0;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ij_status_exit_code(IJ_NO_MEMORY);
    int code = run();
    curl_global_cleanup();
    return code;
}
