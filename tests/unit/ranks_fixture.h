/*
 * Several ranks in one test: the test's own process is rank 0, the others are its children, all
 * share a memfd. Fork before the engine has made threads.
 */
#ifndef TESTS_UNIT_RANKS_FIXTURE_H
#define TESTS_UNIT_RANKS_FIXTURE_H

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/engine.h"

/* Starts ranks 1 .. count - 1; each runs `body` and exits with what it returns. Fills *ret_ranks
 * for rank 0. */
static inline void ranks_start(uint32_t count, double timeout_s,
                               int (*body)(const struct engine_ranks *ranks, void *user),
                               void *user, struct engine_ranks *ret_ranks)
{
    struct engine_ranks ranks = {.count = count, .timeout_s = timeout_s};
    ranks.fd = memfd_create("test-ranks", MFD_CLOEXEC);
    cr_assert_geq(ranks.fd, 0);
    *ret_ranks = ranks;
    for (uint32_t r = 1; r < count; r++) {
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            ranks.rank = r;
            _exit(body(&ranks, user));
        }
        ret_ranks->pids[r] = pid;
    }
}

/* Waits for every other rank; returns the exit code of `rank`, or minus its signal. */
static inline int ranks_end(struct engine_ranks *ranks, uint32_t rank)
{
    int wanted = 0;
    for (uint32_t r = 1; r < ranks->count; r++) {
        int status;
        cr_assert_eq(waitpid(ranks->pids[r], &status, 0), ranks->pids[r]);
        if (r == rank)
            wanted = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    close(ranks->fd);
    return wanted;
}

#endif
