/* Trees go in another thread, their ends are told in the loop's, in order; the queue is bounded. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/reaper.h"

static char root[64];
static sd_event *event;
static struct reaper *reaper;
static pthread_t loop_thread;
static int64_t ended[REAPER_QUEUE_MAX + 8];
static size_t ended_count, failed_count, expected;

static void on_done(void *user, const struct reaper_job *job, const struct ij_err *err)
{
    cr_assert_eq(user, &ended);
    cr_assert(pthread_equal(pthread_self(), loop_thread));
    ended[ended_count++] = job->id;
    failed_count += err != NULL;
    if (ended_count == expected)
        sd_event_exit(event, 0);
}

static void setup(void)
{
    snprintf(root, sizeof root, "/tmp/ijepad-reaper-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    loop_thread = pthread_self();
    cr_assert_geq(sd_event_new(&event), 0);
    cr_assert_eq(reaper_new(event, on_done, &ended, &reaper, NULL), IJ_OK);
}

static void teardown(void)
{
    reaper_free(reaper);
    sd_event_unref(event);
    cr_assert_eq(file_remove_tree(root, NULL), IJ_OK);
}

TestSuite(reaper, .init = setup, .fini = teardown, .timeout = 60);

static struct reaper_job make_tree(int64_t id, int files)
{
    struct reaper_job job = {.kind = REAPER_RUN, .id = id};
    snprintf(job.path, sizeof job.path, "%s/r%lld", root, (long long)id);
    char path[REAPER_PATH_MAX + 32];
    cr_assert_eq(mkdir(job.path, 0700), 0);
    for (int i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%s/%d", job.path, i);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        cr_assert_geq(fd, 0);
        close(fd);
    }
    return job;
}

Test(reaper, trees_go_and_their_ends_are_told_in_order)
{
    expected = 5;
    struct reaper_job jobs[5];
    for (int i = 0; i < 5; i++)
        jobs[i] = make_tree(i + 1, 40);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(reaper_submit(reaper, &jobs[i], NULL), IJ_OK);
    cr_assert_geq(sd_event_loop(event), 0);
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(ended[i], i + 1);
        cr_expect_neq(access(jobs[i].path, F_OK), 0);
    }
    cr_expect_eq(failed_count, 0);
    cr_expect_eq(reaper_waiting(reaper), 0);
}

Test(reaper, what_is_not_there_is_gone_and_what_fails_says_so)
{
    expected = 2;
    struct reaper_job absent = {.kind = REAPER_CHECKPOINT, .id = 1};
    struct reaper_job file = {.kind = REAPER_CHECKPOINT, .id = 2};
    snprintf(absent.path, sizeof absent.path, "%s/absent", root);
    snprintf(file.path, sizeof file.path, "/proc/self/status");
    cr_assert_eq(reaper_submit(reaper, &absent, NULL), IJ_OK);
    cr_assert_eq(reaper_submit(reaper, &file, NULL), IJ_OK);
    cr_assert_geq(sd_event_loop(event), 0);
    cr_expect_eq(failed_count, 1, "only the file that cannot be removed");
}

/* The loop does not turn, so nothing is told; the thread works on. */
Test(reaper, the_queue_is_bounded_and_a_job_is_taken_once)
{
    struct reaper_job slow = make_tree(1, 20000);
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = IJ_OK;
    size_t taken = 1;
    cr_assert_eq(reaper_submit(reaper, &slow, NULL), IJ_OK);
    cr_assert_eq(reaper_submit(reaper, &slow, NULL), IJ_OK);
    cr_assert_leq(reaper_waiting(reaper), 1, "the same job twice");
    for (int i = 0; i < REAPER_QUEUE_MAX && status == IJ_OK; i++) {
        struct reaper_job job = {.kind = REAPER_RUN, .id = 100 + i};
        snprintf(job.path, sizeof job.path, "%s/none-%d", root, i);
        status = reaper_submit(reaper, &job, &err);
        taken += status == IJ_OK;
    }
    if (status != IJ_OK) { /* unless the thread was faster than this one */
        cr_expect_eq(status, IJ_BUSY);
        cr_expect_geq(taken, REAPER_QUEUE_MAX);
    }
    expected = taken;
    cr_assert_geq(sd_event_loop(event), 0);
    cr_expect_eq(ended_count, taken);
}
