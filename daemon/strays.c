/* See strays.h. A child that was not waited for keeps its number, so a signal by number is safe. */
#include "daemon/strays.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "daemon/gpu_inventory.h"
#include "daemon/run.h"
#include "daemon/supervisor.h"
#include "daemon/webhook.h"

#define LOG_MODULE "strays"

void strays_adopt(void)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        log_warn("what a worker leaves behind cannot be adopted: %s", strerror(errno));
}

static bool is_known(const struct daemon *daemon, pid_t pid)
{
    if (pid == gpu_inventory_pid(daemon->inventory) || pid == webhook_pid(daemon->webhook))
        return true;
    for (size_t i = 0; i < daemon->run_count; i++)
        if (daemon->runs[i]->worker && supervisor_pid(daemon->runs[i]->worker) == pid)
            return true;
    return false;
}

/* One that has ended already is only reaped. */
static void end(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) < 0 || info.si_pid)
        return;
    kill(pid, SIGKILL);
    log_notice("process %d, which a worker left behind, is killed", (int)pid);
}

/* The children that one thread has started or adopted. */
static void end_of_thread(const struct daemon *daemon, const char *thread)
{
    char path[64];
    int pid;
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", thread);
    file_auto FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%d", &pid) == 1)
        if (!is_known(daemon, pid))
            end(pid);
}

void strays_end(const struct daemon *daemon)
{
    DIR *threads = opendir("/proc/self/task");
    for (struct dirent *entry; threads && (entry = readdir(threads));)
        if (entry->d_name[0] != '.')
            end_of_thread(daemon, entry->d_name);
    if (threads)
        closedir(threads);
}
