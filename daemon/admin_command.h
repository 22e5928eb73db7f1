/* `ijepad token ...` and `ijepad backup FILE`: administration without the API. */
#ifndef DAEMON_ADMIN_COMMAND_H
#define DAEMON_ADMIN_COMMAND_H

#include <stddef.h>

#include "base/status.h"
#include "daemon/config.h"
#include "store/store.h"

#define ADMIN_COMMAND_TOKEN_FILE "admin.token" /* in the state directory, 0600 */

struct admin_command {
    const struct config *config;
    const char *user, *role; /* of `token create`; NULL: not given */
    uint64_t expires_s;      /* 0: never */
};

/* `places`: "token", "create" and so on. Prints its result to stdout. Creating and revoking
 * need the daemon to be stopped (IJ_BUSY says how to do it through the API); list and backup do
 * not. */
IJ_MUST_USE enum ij_status admin_command_run(const struct admin_command *command,
                                             const char *const *places, size_t count,
                                             struct ij_err *reterr_err);

/* Where the store holds no token yet: makes one for an administrator and writes it to the token
 * file. *ret_made tells whether. */
IJ_MUST_USE enum ij_status admin_command_first_token(struct store *store,
                                                     const struct config *config, bool *ret_made,
                                                     struct ij_err *reterr_err);

#endif
