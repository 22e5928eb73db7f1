/* See worker_jail.h. */
#include "daemon/worker_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

/* ---- landlock: which files change ------------------------------------------------------------ */

#define ACCESS_ABI_1                                                                               \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |  \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define ACCESS_TRUNCATE (1ull << 14) /* ABI 3; newer than the headers of Debian 12 */
#define ACCESS_OF_A_FILE                                                                           \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE)
#define ACCESS_NEVER                                                                               \
    ((uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                        \
                LANDLOCK_ACCESS_FS_MAKE_BLOCK))

static uint64_t known_access(long abi)
{
    uint64_t access = ACCESS_ABI_1;
    if (abi >= 2)
        access |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        access |= ACCESS_TRUNCATE;
    return access;
}

static int allow_below(int ruleset, const char *path, uint64_t access)
{
    fd_auto int parent = open(path, O_PATH | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT ? 0 : -1; /* what is not there needs no leave */
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = parent};
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static enum ij_status restrict_files(const char *directory, struct ij_err *reterr_err)
{
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the kernel has no landlock");
    uint64_t access = known_access(abi);
    struct landlock_ruleset_attr attr = {.handled_access_fs = access};
    fd_auto int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    bool failed =
        ruleset < 0 || allow_below(ruleset, directory, access & ~ACCESS_NEVER) < 0 ||
        allow_below(ruleset, "/dev/shm", access & ~ACCESS_NEVER) < 0 ||
        allow_below(ruleset, "/dev/null", access & ACCESS_OF_A_FILE & ~ACCESS_NEVER) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_landlock_restrict_self, ruleset, 0) < 0;
    if (failed)
        return IJ_ERR_SYS(reterr_err, errno, "", "landlock refused the worker's rules");
    return IJ_OK;
}

/* ---- seccomp: which calls are made ----------------------------------------------------------- */

static const int forbidden_calls[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(personality),
    SCMP_SYS(acct),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(sethostname),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(rt_sigqueueinfo),
};

static int forbid_all(scmp_filter_ctx filter)
{
    uint32_t kill_all = SCMP_ACT_KILL_PROCESS;
    struct scmp_arg_cmp new_process = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
    struct scmp_arg_cmp network = SCMP_A0(SCMP_CMP_NE, AF_UNIX);
    struct scmp_arg_cmp others = SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid());
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    for (size_t i = 0; i < COUNT_OF(forbidden_calls) && !failed; i++)
        failed = seccomp_rule_add(filter, kill_all, forbidden_calls[i], 0);
    if (!failed)
        failed = seccomp_rule_add(filter, kill_all, SCMP_SYS(clone), 1, new_process);
    if (!failed) /* its flags lie in memory; glibc then takes clone */
        failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!failed)
        failed = seccomp_rule_add(filter, kill_all, SCMP_SYS(socket), 1, network);
    if (!failed)
        failed = seccomp_rule_add(filter, kill_all, SCMP_SYS(kill), 1, others);
    if (!failed)
        failed = seccomp_rule_add(filter, kill_all, SCMP_SYS(tgkill), 1, others);
    return failed;
}

static enum ij_status restrict_calls(struct ij_err *reterr_err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the kernel has no seccomp filters");
    int failed = forbid_all(filter);
    if (!failed)
        failed = seccomp_load(filter);
    seccomp_release(filter);
    if (failed)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the kernel refused the worker's jail (%d)",
                      failed);
    return IJ_OK;
}

enum ij_status worker_jail_enter(const char *directory, struct ij_err *reterr_err)
{
    struct ij_err files_err = IJ_ERR_INIT;
    enum ij_status files = restrict_files(directory, &files_err);
    IJ_TRY(restrict_calls(reterr_err));
    if (files != IJ_OK && reterr_err)
        *reterr_err = files_err;
    return files;
}
