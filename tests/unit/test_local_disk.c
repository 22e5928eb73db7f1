/* Which file systems may hold the state directory. */
#include <criterion/criterion.h>
#include <linux/magic.h>
#include <string.h>

#include "store/local_disk.h"

#define CIFS_TYPE 0xFF534D42
#define XFS_TYPE  0x58465342

Test(local_disk, network_types_are_named)
{
    cr_assert_str_eq(local_disk_network_type(NFS_SUPER_MAGIC, "nfs4"), "NFS");
    cr_assert_str_eq(local_disk_network_type(SMB_SUPER_MAGIC, "smb"), "SMB");
    cr_assert_str_eq(local_disk_network_type((long)CIFS_TYPE, "cifs"), "CIFS");
    /* The same number as some architectures return it, with the sign extended. */
    cr_assert_str_eq(local_disk_network_type((int)CIFS_TYPE, "cifs"), "CIFS");
    cr_assert_str_eq(local_disk_network_type(V9FS_MAGIC, "9p"), "9P");
    cr_assert_str_eq(local_disk_network_type(AFS_SUPER_MAGIC, "afs"), "AFS");
}

Test(local_disk, fuse_is_network_unless_known_to_be_local)
{
    cr_assert_str_eq(local_disk_network_type(FUSE_SUPER_MAGIC, "fuse.sshfs"), "FUSE");
    cr_assert_str_eq(local_disk_network_type(FUSE_SUPER_MAGIC, ""), "FUSE");
    cr_assert_null(local_disk_network_type(FUSE_SUPER_MAGIC, "fuseblk"));
    cr_assert_null(local_disk_network_type(FUSE_SUPER_MAGIC, "fuse.fuse-overlayfs"));
}

Test(local_disk, local_types_pass)
{
    cr_assert_null(local_disk_network_type(EXT4_SUPER_MAGIC, "ext4"));
    cr_assert_null(local_disk_network_type(XFS_TYPE, "xfs"));
    cr_assert_null(local_disk_network_type((long)BTRFS_SUPER_MAGIC, "btrfs"));
    cr_assert_null(local_disk_network_type(TMPFS_MAGIC, "tmpfs"));
    cr_assert_null(local_disk_network_type(OVERLAYFS_SUPER_MAGIC, "overlay"));
}

Test(local_disk, a_missing_directory_is_told)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(local_disk_check("/nowhere/at/all", &err), IJ_NOT_FOUND);
    cr_assert(strstr(err.text, "/nowhere/at/all"));
}
