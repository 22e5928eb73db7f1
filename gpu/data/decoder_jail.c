/* See decoder_jail.h. */
#include "gpu/data/decoder_jail.h"

#include <limits.h>
#include <malloc.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define ARENAS_MAX     64         /* stated, so that malloc does not count the cores */
#define MMAP_THRESHOLD (32 << 20) /* the most that glibc takes */

void decoder_jail_prepare(void)
{
    mallopt(M_ARENA_MAX, ARENAS_MAX);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
}

/* Calls that are allowed whatever their arguments. */
static const int plain_calls[] = {
    SCMP_SYS(futex),         SCMP_SYS(munmap),
    SCMP_SYS(mremap),        SCMP_SYS(madvise),
    SCMP_SYS(brk),           SCMP_SYS(exit),
    SCMP_SYS(exit_group),    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sched_yield),   SCMP_SYS(getpid),
    SCMP_SYS(gettid),        SCMP_SYS(restart_syscall),
};

static int allow_all(scmp_filter_ctx filter)
{
    int failed = 0;
    for (size_t i = 0; i < COUNT_OF(plain_calls) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
    struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    struct scmp_arg_cmp no_file = SCMP_A4(SCMP_CMP_MASKED_EQ, 0xffffffffu, 0xffffffffu);
    struct scmp_arg_cmp words = SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO);
    struct scmp_arg_cmp own = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
    if (!failed)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, no_code, no_file);
    if (!failed)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
    if (!failed)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, words);
    if (!failed) /* abort() after a failed assertion */
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, own);
    return failed;
}

enum ij_status decoder_jail_enter(struct ij_err *reterr_err)
{
    if (SANITIZED)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "no jail for decoders under a sanitizer");
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the kernel has no seccomp filters");
    int failed = allow_all(filter);
    if (!failed)
        failed = seccomp_load(filter);
    seccomp_release(filter);
    if (failed)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the kernel refused the decoders' jail (%d)",
                      failed);
    return IJ_OK;
}
