"""Malformed images among good ones, our own and the public corpus: each costs itself, and no worker is started twice."""
import csv
import io
import os
import pathlib
import random
import re
import shutil
import tarfile
import time

import pytest

from harness import Daemon, sanitized, wait_until
from outcome import SHORT_RUN

GOOD = 64
OWN_EACH = 10
HOSTILE = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "images"
MEMORY_MAX_MIB = 256  # over what the same run takes on good images


def spoiled(data, rng):
    """Cut, bytes changed, a piece doubled or taken out, or the head of one and the rest of nothing."""
    data, kind = bytearray(data), rng.randrange(4)
    at = rng.randrange(2, len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        for _ in range(rng.randint(1, 30)):
            data[rng.randrange(2, len(data))] = rng.randrange(256)
        return data
    end = min(len(data), at + rng.randint(1, 400))
    return data[:end] + data[at:] if kind == 2 else data[:at] + data[end:]


@pytest.fixture(scope="session")
def own(tmp_path_factory, scenes):
    """The hostile images of tests/fuzz, and hundreds of spoiled ones made of them and of good ones, from a fixed seed."""
    folder, rng = tmp_path_factory.mktemp("spoiled"), random.Random(7)
    sources = images_below(HOSTILE) + sorted(images_below(scenes))[:20]
    for source in sources:
        if not 100 < source.stat().st_size < 2_000_000:
            continue
        shutil.copy(source, folder / f"whole-{source.name}")
        for n in range(OWN_EACH):
            (folder / f"{n}-{source.name}").write_bytes(spoiled(source.read_bytes(), rng))
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
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


@pytest.mark.parametrize("kind, bad", [("own", 200), ("corpus", 500)])
def test_an_epoch_over_malformed_images(kind, bad, scenes, tmp_path, request):
    malformed = request.getfixturevalue(kind)
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
    assert len(named) == len(rows) > bad
    assert not any("good-" in name for name in named)
    assert all(row["cause"] for row in rows)
    assert peak_mib - plain_mib < MEMORY_MAX_MIB or sanitized("ijepad-worker")
    total = len(images_below(malformed))
    print(f"{total} images, {len(rows)} bad, {took_s:.1f} s, {plain_mib:.0f} MiB plain, {peak_mib:.0f} MiB at most")
    daemon.stop()
