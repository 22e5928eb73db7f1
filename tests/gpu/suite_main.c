/*
 * Runs the operation suite without Criterion: each test in a process of its own, so that a lost
 * device context costs one test, or all in this one (--one-process) for a memory checker.
 *
 * One JSON object per test on stdout, then one with the sums; what failed is told on stderr. Exit
 * status 0: none failed and at least one ran; 1: otherwise.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/gpu/criterion/criterion.h"

enum outcome { PASSED, FAILED, SKIPPED, CRASHED, OUTCOME_COUNT };
enum { FILTERS_MAX = 32, JOBS_MAX = 64, TIMEOUT_S = 120 };

static const char *const outcome_names[] = {"passed", "failed", "skipped", "crashed"};

struct options {
    const char *filters[FILTERS_MAX]; /* parts of "suite/name"; none: all */
    int filter_count, jobs;
    bool one_process, list;
};
struct job {
    pid_t pid; /* 0: free */
    const struct suite_test *test;
    double begin_s;
};

static struct suite_test *first_test;
static struct suite_fixture *first_fixture;
static jmp_buf back;
static int counts[OUTCOME_COUNT];

void suite_add(struct suite_test *test)
{
    test->next = first_test;
    first_test = test;
}

void suite_surround(struct suite_fixture *fixture)
{
    fixture->next = first_fixture;
    first_fixture = fixture;
}

/* Of the test's suite; one that does nothing where it has none. */
static const struct suite_fixture *fixture_of(const struct suite_test *test)
{
    static const struct suite_fixture none;
    const struct suite_fixture *fixture = first_fixture;
    while (fixture && strcmp(fixture->suite, test->suite) != 0)
        fixture = fixture->next;
    return fixture ? fixture : &none;
}

void suite_fail(const char *file, int line, const char *what, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: not so: %s: ", file, line, what);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    longjmp(back, 1 + FAILED);
}

void suite_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    longjmp(back, 1 + SKIPPED);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run_surrounded(const struct suite_test *test)
{
    const struct suite_fixture *fixture = fixture_of(test);
    if (fixture->init)
        fixture->init();
    test->run();
    if (fixture->fini)
        fixture->fini();
}

static enum outcome run_here(const struct suite_test *test)
{
    fprintf(stderr, "-- %s/%s\n", test->suite, test->name);
    int left = setjmp(back);
    if (left)
        return (enum outcome)(left - 1);
    run_surrounded(test);
    return PASSED;
}

static void report(const struct suite_test *test, enum outcome outcome, double seconds)
{
    counts[outcome]++;
    printf("{\"test\":\"%s/%s\",\"result\":\"%s\",\"seconds\":%.3f}\n", test->suite, test->name,
           outcome_names[outcome], seconds);
    fflush(stdout);
}

static bool chosen(const struct options *o, const struct suite_test *test)
{
    char name[256];
    snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
    for (int i = 0; i < o->filter_count; i++)
        if (strstr(name, o->filters[i]))
            return true;
    return o->filter_count == 0;
}

static void start(struct job *job, const struct suite_test *test)
{
    *job = (struct job){.test = test, .begin_s = now_s()};
    job->pid = fork();
    if (job->pid < 0) {
        fprintf(stderr, "cannot start a process: %s\n", strerror(errno));
        exit(1);
    }
    if (job->pid == 0) {
        alarm(fixture_of(test)->timeout ? fixture_of(test)->timeout : TIMEOUT_S);
        _exit((int)run_here(test));
    }
}

static void collect(struct job *jobs, int count)
{
    int status;
    pid_t pid = wait(&status);
    for (int i = 0; i < count; i++) {
        if (jobs[i].pid != pid || pid <= 0)
            continue;
        enum outcome outcome = CRASHED;
        if (WIFEXITED(status) && WEXITSTATUS(status) < CRASHED)
            outcome = (enum outcome)WEXITSTATUS(status);
        else
            fprintf(stderr, "%s/%s: ended by signal %d\n", jobs[i].test->suite, jobs[i].test->name,
                    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        report(jobs[i].test, outcome, now_s() - jobs[i].begin_s);
        jobs[i].pid = 0;
    }
}

static void run_processes(const struct options *o)
{
    struct job jobs[JOBS_MAX] = {{0}};
    int running = 0;
    for (const struct suite_test *t = first_test; t || running > 0;) {
        if (t && !chosen(o, t)) {
            t = t->next;
            continue;
        }
        if (!t || running == o->jobs) {
            collect(jobs, o->jobs);
            running--;
            continue;
        }
        int free_place = 0;
        while (jobs[free_place].pid)
            free_place++;
        start(&jobs[free_place], t);
        running++;
        t = t->next;
    }
}

static void run_together(const struct options *o)
{
    for (const struct suite_test *t = first_test; t; t = t->next) {
        double begin_s = now_s();
        if (chosen(o, t))
            report(t, run_here(t), now_s() - begin_s);
    }
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.jobs = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--one-process") == 0)
            o->one_process = true;
        else if (strcmp(argv[i], "--list") == 0)
            o->list = true;
        else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
            o->jobs = (int)strtol(argv[++i], NULL, 10);
        else if (o->filter_count < FILTERS_MAX)
            o->filters[o->filter_count++] = argv[i];
    }
    o->jobs = o->jobs < 1 ? 1 : o->jobs > JOBS_MAX ? JOBS_MAX : o->jobs;
}

int main(int argc, char **argv)
{
    struct options options;
    parse(argc, argv, &options);
    if (options.list) {
        for (const struct suite_test *t = first_test; t; t = t->next)
            if (chosen(&options, t))
                printf("%s/%s\n", t->suite, t->name);
        return 0;
    }
    if (options.one_process)
        run_together(&options);
    else
        run_processes(&options);
    printf("{\"passed\":%d,\"failed\":%d,\"skipped\":%d,\"crashed\":%d}\n", counts[PASSED],
           counts[FAILED], counts[SKIPPED], counts[CRASHED]);
    return counts[FAILED] + counts[CRASHED] == 0 && counts[PASSED] > 0 ? 0 : 1;
}
