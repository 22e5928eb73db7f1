"""A small file system on a loop device whose power can be cut (FS_IOC_SHUTDOWN without flushing the
log): what was not durable by then is gone after the next mount."""
import fcntl
import json
import os
import shutil
import struct
import subprocess

import pytest

from harness import wait_until

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
MIB = 1024 * 1024
MAKE = {"ext4": (["mkfs.ext4", "-q", "-F"], 96 * MIB), "xfs": (["mkfs.xfs", "-q", "-f"], 320 * MIB)}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return done.stderr.strip()[-200:] if done.returncode else None


class Disk:
    def __init__(self, folder, kind):
        make, size = MAKE[kind]
        self.kind, self.image, self.mount_point = kind, folder / "image", folder / "disk"
        if not shutil.which(make[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.skip(f"{make[0]} is not installed")
        self.mount_point.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size)
        problem = run(shutil.which(make[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin"), *make[1:], self.image) \
            or run("mount", "-o", "loop", self.image, self.mount_point)
        if problem:
            pytest.skip(f"cannot mount a {kind} image: {problem}")
        self.mounted = True

    def cut(self):
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        problems = []

        def unmounted():
            problems[:] = [run("umount", self.mount_point)]
            return problems[0] is None
        try:
            wait_until("the disk is unmounted", unmounted, 20, 0.05)
        finally:
            self.mounted = problems[0] is not None
            if self.mounted:
                print(problems[0])

    def revive(self):
        self.unmount()
        problem = run("mount", "-o", "loop", self.image, self.mount_point)
        assert problem is None, f"the file system does not mount any more: {problem}"
        self.mounted = True

    def read_json(self, path):
        return json.loads(path.read_text())

    def close(self):
        if self.mounted:
            self.unmount()
        self.image.unlink()
