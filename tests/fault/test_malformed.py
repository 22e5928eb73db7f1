"""All malformed JPEGs of the corpus among good images: each costs itself, and no worker is started twice."""
import csv
import io
import os
import pathlib
import re
import shutil
import tarfile
import time

import pytest

from harness import Daemon, wait_until
from outcome import SHORT_RUN

GOOD = 64
MEMORY_MAX_MIB = 256  # over what the same run takes on good images


@pytest.fixture(scope="session")
def malformed(tmp_path_factory):
    archive = pathlib.Path(os.environ.get("IJEPAD_TEST_DATA", "/nonexistent")) / "jpeg-malformed.tar.gz"
    if not archive.exists():
        pytest.skip("no jpeg-malformed.tar.gz in IJEPAD_TEST_DATA")
    folder = tmp_path_factory.mktemp("malformed")
    with tarfile.open(archive) as tar:
        tar.extractall(folder)
    return folder


def images_below(folder):
    return [p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")]


def train(daemon, dataset):
    """One epoch; the run, and the most memory that its worker held, in MiB."""
    run = daemon.submit("pretrain", dataset=str(dataset), bad_image_limit=1,
                        **{**SHORT_RUN, "epochs": 1, "warmup_epochs": 0, "eval_every_epochs": 0})
    peak = 0

    def ended():
        nonlocal peak
        for pid in daemon.worker_pids():
            try:
                found = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
                peak = max(peak, int(found[1]) / 1024 if found else 0)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return daemon.run(run)["state"] in ("succeeded", "failed", "quarantined")
    wait_until("the epoch ends", ended, 600, 0.01)
    return daemon.run(run), peak


def test_an_epoch_over_the_corpus(malformed, scenes, tmp_path):
    daemon = Daemon(tmp_path)
    daemon.start()
    good, plain_mib = train(daemon, scenes)
    assert good["state"] == "succeeded", good
    for n, source in enumerate(images_below(scenes)[:GOOD]):
        shutil.copy(source, malformed / f"good-{n}{source.suffix}")
    begin = time.monotonic()
    run, peak_mib = train(daemon, malformed)
    took_s = time.monotonic() - begin
    assert run["state"] == "succeeded", run
    attempts = daemon.api("GET", f"/v1/runs/{run['id']}/attempts").json()["items"]
    assert len(attempts) == 1
    answer = daemon.api("GET", f"/v1/runs/{run['id']}/files/bad_images.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    named = {row["name"] for row in rows}
    assert len(named) == len(rows) > 500
    assert not any("good-" in name for name in named)
    assert all(row["cause"] for row in rows)
    assert peak_mib - plain_mib < MEMORY_MAX_MIB
    total = len(images_below(malformed))
    print(f"{total} images, {len(rows)} bad, {took_s:.1f} s, {plain_mib:.0f} MiB plain, {peak_mib:.0f} MiB at most")
    daemon.stop()
