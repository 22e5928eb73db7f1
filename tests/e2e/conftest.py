"""What the end-to-end tests share: images, and daemons that are started once per module."""
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

sys.path += [str(pathlib.Path(__file__).resolve().parent.parent / folder) for folder in ("fault", "bench")]

from harness import BUILD, Daemon, idle_worker  # noqa: E402


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """96 rendered scenes with labels."""
    folder = tmp_path_factory.mktemp("scenes")
    subprocess.run([BUILD / "ijepad-worker", "scenes", folder, "--count", "96", "--size", "48"],
                   check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Two folders of eight small JPEGs each, every one different."""
    folder = tmp_path_factory.mktemp("images")
    for label in ("a", "b"):
        (folder / label).mkdir()
        for i in range(8):
            pixels = Image.new("RGB", (40, 36))
            pixels.putdata([((x * 7 + i * 31) % 256, (x // 40 * 5) % 256, (i * 17 + ord(label)) % 256)
                            for x in range(40 * 36)])
            pixels.save(folder / label / f"{i}.jpg", quality=85)
    return folder


@pytest.fixture(scope="module")
def idle_daemon(tmp_path_factory):
    """A daemon whose workers never report: what is started stays "starting", the rest queued."""
    folder = tmp_path_factory.mktemp("idle")
    worker = idle_worker(folder)
    daemon = Daemon(folder, worker=worker, slots=1, start_timeout_s=600, stop_grace_s=1).start()
    yield daemon
    daemon.stop()
