"""Datasets: the run kind `scan` through the daemon, and `ijepad-worker pack` with its kills."""
import csv
import json
import shutil
import signal
import subprocess

import pytest

from harness import BUILD, Daemon
from outcome import SHORT_RUN

SMALL = dict(crop=32, patch=8, model="custom", width=32, depth=2, heads=2, pred_width=16, pred_depth=1,
             pred_heads=2, threads=1, loader_threads=1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("datasets")).start()
    yield d
    d.stop()


def scan(daemon, **params):
    run_id = daemon.submit("scan", **params)
    row = daemon.wait_for_state(run_id, "succeeded")
    item, = daemon.api("GET", f"/v1/runs/{run_id}/results").json()["items"]
    assert item["name"] == "scan"
    whole = json.loads((daemon.state / "runs" / run_id / "result.json").read_text())
    assert whole == item["result"], "short enough to be kept whole"
    return run_id, row, whole


def spoil(images, folder):
    """The sixteen images, of which one is cut off, one is no image, and one a PNG by its bytes."""
    shutil.copytree(images, folder)
    whole = (folder / "a" / "3.jpg").read_bytes()
    (folder / "a" / "3.jpg").write_bytes(whole[:len(whole) // 2])
    (folder / "b" / "5.jpg").write_text("<html>not found</html>")
    return folder


def test_a_scan_counts_and_names_what_is_bad(daemon, images, tmp_path):
    data = spoil(images, tmp_path / "data")
    run_id, row, got = scan(daemon, dataset=str(data), eval_dataset=str(images))
    train, held_out = got["splits"]["train"], got["splits"]["eval"]
    assert got["check"] == "pixels" and got["labels"] == "folder" and got["build"]
    assert train["images"] == 16 and train["formats"] == {"jpeg": 14, "png": 0}
    assert train["bytes"] == sum(p.stat().st_size for p in data.rglob("*.jpg"))
    assert train["width"] == {"min": 40, "median": 40, "max": 40}
    assert train["height"]["median"] == train["shorter_side"]["median"] == 36
    assert train["classes"] == {"count": 2, "smallest": {"name": "a", "images": 8}, "largest": {"name": "a", "images": 8}}
    bad = train["bad_images"]
    assert bad["count"] == 2 and bad["share"] == pytest.approx(2 / 16)
    assert [b["name"] for b in bad["first"]] == ["a/3.jpg", "b/5.jpg"]
    assert "HTML" in bad["first"][1]["cause"] and bad["first"][0]["cause"]
    assert held_out["bad_images"]["count"] == 0 and held_out["formats"]["jpeg"] == 16
    assert row["step"] == 32, "one unit per image"

    files = {f["name"] for f in daemon.api("GET", f"/v1/runs/{run_id}/files").json()["items"]}
    assert files == {"bad_images-train.csv", "classes-train.csv", "classes-eval.csv"}
    text = daemon.api("GET", f"/v1/runs/{run_id}/files/bad_images-train.csv").text
    assert sorted(r["name"] for r in csv.DictReader(text.splitlines())) == ["a/3.jpg", "b/5.jpg"]


def test_headers_do_not_show_damage_further_down(daemon, images, tmp_path):
    data = spoil(images, tmp_path / "data")
    _, _, got = scan(daemon, dataset=str(data), eval_dataset=str(images), check="headers")
    assert [b["name"] for b in got["splits"]["train"]["bad_images"]["first"]] == ["b/5.jpg"]


def test_a_scan_needs_no_labels(daemon, images):
    _, _, got = scan(daemon, dataset=str(images / "a"), eval_dataset=str(images / "b"))
    assert got["labels"] == "none" and got["splits"]["train"]["classes"] is None


def test_pretraining_needs_no_labels(daemon, images):
    """A flat folder; with classes the same run is watched by k-NN as well."""
    for folder, knn in ((images / "a", False), (images, True)):
        params = {**SHORT_RUN, "labels": "folder", "eval_every_epochs": 1}
        run = daemon.submit("pretrain", dataset=str(folder), eval_dataset=str(folder), **params)
        daemon.wait_for_state(run, "succeeded")
        keys = daemon.api("GET", f"/v1/runs/{run}/metrics").text
        assert "rankme" in keys and ("knn" in keys) == knn, keys


@pytest.mark.parametrize("params, pointer", [({"check": "pixel"}, "check"), ({"batch": 8}, "batch"),
                                             ({"dataset": "/nonexistent"}, "dataset")])
def test_scans_refused_before_they_start(daemon, images, params, pointer):
    answer = daemon.api("POST", "/v1/runs", json={"kind": "scan", "params": {"dataset": str(images), **params}})
    assert answer.status_code == 422, answer.text
    assert f"/params/{pointer}" in [e["pointer"] for e in answer.json()["errors"]], answer.text


# ---- Packs -------------------------------------------------------------------------------------------

def pack(*arguments):
    return subprocess.run([BUILD / "ijepad-worker", "pack", *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """48 files of 64 KiB each: bytes are packed as they are, whatever they hold."""
    folder = tmp_path_factory.mktemp("noise")
    for i in range(48):
        (folder / f"{i:02}.jpg").write_bytes(bytes([i]) * 65536)
    return folder


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_killed_pack_goes_on(noise, tmp_path):
    done = pack(noise, tmp_path / "whole", "--shard-mib", 1)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done
    for kill_after in (1, 2):
        process = subprocess.Popen([BUILD / "ijepad-worker", "pack", noise, tmp_path / "killed", "--shard-mib", "1"],
                                   stdout=subprocess.PIPE, text=True)
        for _ in range(kill_after):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = pack(noise, tmp_path / "killed", "--shard-mib", 1)
    assert done.returncode == 0 and done.stdout.count("there already") >= 2, done
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert pack("--check", tmp_path / "killed").returncode == 0


def test_a_run_over_a_pack_is_the_run_over_its_folder(daemon, scenes, tmp_path):
    assert pack(scenes, tmp_path / "packed").returncode == 0
    results = []
    for data in (scenes, tmp_path / "packed"):
        run_id = daemon.submit("knn", dataset=str(data), labels="shape", eval_batch=32, **SMALL)
        daemon.wait_for_state(run_id, "succeeded")
        results.append(json.loads((daemon.state / "runs" / run_id / "result.json").read_text()))
    folder, packed = (r["data"] for r in results)
    for split in ("train", "eval"):
        assert folder[split]["fingerprint"] == packed[split]["fingerprint"]
    assert results[0]["random"] == results[1]["random"]


def test_a_damaged_pack_is_refused_by_name(daemon, images, tmp_path):
    assert pack(images, tmp_path / "packed").returncode == 0
    index = tmp_path / "packed" / "pack.index"
    index.write_bytes(index.read_bytes()[:-1])
    run_id = daemon.submit("scan", dataset=str(tmp_path / "packed"))
    row = daemon.wait_for_state(run_id, "failed")
    assert "pack.index" in row["reason_text"] and "size" in row["reason_text"], row


@pytest.mark.parametrize("arguments, says", [((), "DATASET and DIR"), (("a",), "DATASET and DIR"),
                                             (("--check", "a", "b"), "DIR"), (("/nonexistent", "/tmp/x"), "/nonexistent")])
def test_mistakes_are_named(arguments, says):
    done = pack(*arguments)
    assert done.returncode not in (0, 1) and says in done.stderr and done.stderr.count("\n") == 1, done
