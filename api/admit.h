/*
 * May this request be served? Everything that can be decided from its head, in the order told in
 * server.h. Listener threads.
 */
#ifndef API_ADMIT_H
#define API_ADMIT_H

#include "api/request.h"

enum admit_verdict {
    ADMIT_READ_BODY,  /* go on; with request->problem set: read and drop the body, then refuse */
    ADMIT_ANSWER_NOW, /* request->problem is set, the body is not to be read */
};

enum admit_verdict admit_request(struct request *request, const char *method, const char *version);

#endif
