/* See local_disk.h. */
#include "store/local_disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/mem.h"

#define FUSE_TYPE 0x65735546

static const struct {
    unsigned long type;
    const char *name;
} network_types[] = {
    {0x6969, "NFS"},        {0x517B, "SMB"},      {0xFF534D42, "CIFS"},   {0xFE534D42, "SMB2"},
    {0x5346414F, "AFS"},    {0x73757245, "Coda"}, {0x00C36400, "Ceph"},   {0x01021997, "9P"},
    {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"}, {0x013111A8, "IBRIX"},
};

const char *local_disk_network_type(long type, const char *mount_type)
{
    unsigned long magic = (unsigned long)type & 0xffffffffu;
    for (size_t i = 0; i < COUNT_OF(network_types); i++)
        if (magic == network_types[i].type)
            return network_types[i].name;
    if (magic != FUSE_TYPE || strcmp(mount_type, "fuseblk") == 0 ||
        strcmp(mount_type, "fuse.fuse-overlayfs") == 0)
        return NULL;
    return "FUSE"; /* sshfs, s3fs, rclone, ...: no shared memory over these */
}

/* The type in /proc/self/mountinfo of the mount with this device number; "" when not found. */
static void mount_type_of(dev_t device, char ret_type[64])
{
    ret_type[0] = '\0';
    file_auto FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[4096];
    while (mounts && fgets(line, sizeof line, mounts)) {
        unsigned major_number, minor_number;
        char *dash = strstr(line, " - ");
        if (!dash || sscanf(line, "%*d %*d %u:%u", &major_number, &minor_number) != 2)
            continue;
        if (major_number == major(device) && minor_number == minor(device) &&
            sscanf(dash + 3, "%63s", ret_type) == 1)
            return;
    }
}

enum ij_status local_disk_check(const char *directory, struct ij_err *reterr_err)
{
    struct statfs fs;
    struct stat st;
    char mount_type[64];
    if (statfs(directory, &fs) < 0 || stat(directory, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, directory, "cannot look at %s", directory);
    mount_type_of(st.st_dev, mount_type);
    const char *network = local_disk_network_type((long)fs.f_type, mount_type);
    if (network)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, directory,
                            "%s is on a %s file system%s%s; the state directory must be on a local "
                            "disk, because databases with shared memory break on others",
                            directory, network, mount_type[0] ? " of type " : "", mount_type);
    return IJ_OK;
}
