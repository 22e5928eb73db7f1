/* See listener.h. */
#include "api/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/address.h"
#include "base/mem.h"

#define BACKLOG 128

union any_address {
    struct sockaddr base;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

/* The port that the socket really has; 0 for other families. */
static unsigned bound_port(int fd)
{
    union any_address address;
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.base, &size) < 0)
        return 0;
    if (address.base.sa_family == AF_INET)
        return ntohs(address.v4.sin_port);
    return address.base.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

static enum ij_status bind_and_listen(int fd, const union any_address *address, socklen_t size,
                                      const char *name, struct ij_err *reterr_err)
{
    if (bind(fd, &address->base, size) < 0) {
        if (errno == EADDRINUSE)
            return IJ_ERR_FIELD(reterr_err, IJ_BUSY, "listen", "another program listens on %s",
                                name);
        return IJ_ERR_SYS(reterr_err, errno, "listen", "cannot bind %s", name);
    }
    if (listen(fd, BACKLOG) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "listen", "cannot listen on %s", name);
    return IJ_OK;
}

enum ij_status listener_tcp(const char *address_text, bool allow_remote,
                            struct listener *ret_listener, struct ij_err *reterr_err)
{
    union any_address address;
    socklen_t size;
    if (!address_parse(address_text, &address.storage, &size))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "listen",
                            "\"%.64s\" must be ADDRESS:PORT, like 127.0.0.1:8765 or [::1]:8765",
                            address_text);
    if (!allow_remote && !address_is_loopback(&address.base))
        return IJ_ERR_FIELD(
            reterr_err, IJ_INVALID, "listen",
            "\"%.64s\" is beyond loopback: put a TLS proxy in front instead, or say "
            "allow_remote = yes",
            address_text);
    fd_auto int fd = socket(address.base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, "listen", "no socket for %.64s", address_text);
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    IJ_TRY(bind_and_listen(fd, &address, size, address_text, reterr_err));
    *ret_listener = (struct listener){.port = bound_port(fd)};
    ret_listener->fd = FD_TAKE(fd);
    return IJ_OK;
}

/* Removes a socket file that nobody answers on. */
static enum ij_status clear_path(const union any_address *address, const char *path,
                                 struct ij_err *reterr_err)
{
    struct stat info;
    if (lstat(path, &info) < 0)
        return IJ_OK;
    if (!S_ISSOCK(info.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "socket", "%s exists and is no socket", path);
    fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &address->base, sizeof address->un) == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_BUSY, "socket", "another program listens on %s", path);
    if (unlink(path) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "socket", "cannot remove the old %s", path);
    return IJ_OK;
}

/* Mode 0660 and the group, so that its members may connect. */
static enum ij_status set_access(const char *path, const char *group_name,
                                 struct ij_err *reterr_err)
{
    if (chmod(path, 0660) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "socket", "cannot set the mode of %s", path);
    if (!group_name || !*group_name)
        return IJ_OK;
    char buffer[16384];
    struct group group, *found = NULL;
    if (getgrnam_r(group_name, &group, buffer, sizeof buffer, &found) != 0 || !found)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "socket_group", "there is no group \"%.64s\"",
                            group_name);
    if (chown(path, (uid_t)-1, found->gr_gid) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "socket_group", "cannot give %s to group %.64s", path,
                          group_name);
    return IJ_OK;
}

enum ij_status listener_unix(const char *path, const char *group, struct listener *ret_listener,
                             struct ij_err *reterr_err)
{
    union any_address address = {.un = {.sun_family = AF_UNIX}};
    if (strlen(path) >= sizeof address.un.sun_path)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "socket",
                            "the path of a Unix socket has at most %zu bytes: %s",
                            sizeof address.un.sun_path - 1, path);
    memcpy(address.un.sun_path, path, strlen(path) + 1);
    IJ_TRY(clear_path(&address, path, reterr_err));
    fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mem_auto char *unlink_path = mem_strdup(path);
    if (fd < 0 || !unlink_path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no socket for %s", path);
    (void)fchmod(fd, 0660); /* on Linux the file is made with it: no moment of wider access */
    IJ_TRY(bind_and_listen(fd, &address, sizeof address.un, path, reterr_err));
    enum ij_status status = set_access(path, group, reterr_err);
    if (status != IJ_OK) {
        (void)unlink(path);
        return status;
    }
    *ret_listener = (struct listener){.is_unix = true};
    ret_listener->unlink_path = MEM_TAKE(unlink_path);
    ret_listener->fd = FD_TAKE(fd);
    return IJ_OK;
}

enum ij_status listener_inherit(int fd, struct listener *ret_listener, struct ij_err *reterr_err)
{
    union any_address address;
    socklen_t size = sizeof address;
    int listening = 0;
    socklen_t listening_size = sizeof listening;
    if (getsockname(fd, &address.base, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) < 0 || !listening)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "inherited socket",
                            "descriptor %d is no listening socket", fd);
    *ret_listener = (struct listener){
        .fd = fd, .is_unix = address.base.sa_family == AF_UNIX, .port = bound_port(fd)};
    return IJ_OK;
}

void listener_done(struct listener *listener)
{
    mem_close_fd_at(&listener->fd);
    if (listener->unlink_path)
        (void)unlink(listener->unlink_path);
    mem_free(listener->unlink_path);
    for (size_t i = 0; i < listener->policy.host_count; i++)
        mem_free(listener->hosts[i]);
    *listener = (struct listener){.fd = -1};
}

static enum ij_status add_host(struct listener *listener, char *host, struct ij_err *reterr_err)
{
    if (!host)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for host names");
    if (listener->policy.host_count == LISTENER_HOSTS_MAX) {
        mem_free(host);
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "hosts", "too many host names");
    }
    listener->hosts[listener->policy.host_count++] = host;
    listener->policy.hosts = (const char *const *)listener->hosts;
    return IJ_OK;
}

/* NAME, and NAME:PORT where the listener has a port. */
static enum ij_status add_name(struct listener *listener, const char *name, bool bare,
                               struct ij_err *reterr_err)
{
    if (bare || listener->is_unix)
        IJ_TRY(add_host(listener, mem_strdup(name), reterr_err));
    if (!listener->is_unix)
        IJ_TRY(add_host(listener, mem_printf("%s:%u", name, listener->port), reterr_err));
    return IJ_OK;
}

static bool has_port(const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon && (name[0] != '[' || colon[-1] == ']');
}

enum ij_status listener_set_hosts(struct listener *listener, const char *const *names, size_t count,
                                  struct ij_err *reterr_err)
{
    static const char *const local[] = {"localhost", "127.0.0.1", "[::1]"};
    bool bare = listener->port == 80; /* browsers leave port 80 out */
    for (size_t i = 0; i < COUNT_OF(local); i++)
        IJ_TRY(add_name(listener, local[i], bare, reterr_err));
    for (size_t i = 0; i < count; i++) {
        if (has_port(names[i]))
            IJ_TRY(add_host(listener, mem_strdup(names[i]), reterr_err));
        else
            IJ_TRY(add_name(listener, names[i], true, reterr_err));
    }
    return IJ_OK;
}
