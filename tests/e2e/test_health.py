"""The health of a run, from the engine's checks to the API: a healthy run, and a collapse on purpose."""
import subprocess

import pytest

from harness import BUILD, Daemon

TINY = {"labels": "none", "model": "custom", "width": 32, "depth": 2, "heads": 2, "pred_width": 16, "pred_depth": 1,
        "pred_heads": 2, "crop": 32, "patch": 8, "patch_init_std": 0.075, "sampler": "unbiased", "target_scale": [0.25, 0.3],
        "min_keep": 1, "batch": 16, "epochs": 16, "warmup_epochs": 1, "lr": 0.002, "eval_every_epochs": 2, "eval_images": 64,
        "threads": 1, "loader_threads": 1}
CHECK_STEPS = 26  # 240 scenes less the held-out tenth, in batches of 16, every second epoch


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("health")
    subprocess.run([BUILD / "ijepad-worker", "scenes", folder / "scenes", "--count", "240"], check=True, capture_output=True)
    daemon = Daemon(folder, slots=2).start()
    params = {**TINY, "dataset": str(folder / "scenes")}
    healthy = daemon.submit("pretrain", **params)
    # With momentum 0 the targets are the encoder's own outputs: to predict them all it need only be constant.
    collapse = daemon.submit("pretrain", ema_start=0, ema_end=0, **params)
    for run in (healthy, collapse):
        daemon.wait_for_state(run, "succeeded")
    yield daemon, healthy, collapse
    daemon.stop()


def events(daemon, run):
    items = daemon.api("GET", f"/v1/runs/{run}/events?limit=200").json()["items"]
    return sorted((e for e in items if e["type"] == "run.health"), key=lambda e: e["id"])


def test_a_healthy_run_is_healthy(runs):
    daemon, healthy, _ = runs
    health = daemon.run(healthy)["health"]
    assert (health["verdict"], health["rule"], health["text"]) == ("healthy", "", "")
    assert health["step"] == 8 * CHECK_STEPS and health["figures"]["ssl/rankme"] > 2.5
    assert set(health["figures"]) >= {"ssl/lidar", "ssl/explained", "ssl/target_std", "ssl/pair_cos", "ssl/ema_gap"}
    assert events(daemon, healthy) == []


def test_a_collapse_is_flagged_and_told(runs):
    daemon, _, collapse = runs
    health = daemon.run(collapse)["health"]
    assert health["verdict"] == "collapsing" and health["rule"] and health["text"]
    told = [e["data"] for e in events(daemon, collapse)]
    assert [e["verdict"] for e in told] == ["watch", "collapsing"] and [e["was"] for e in told] == ["healthy", "watch"]
    # RankMe falls below its limit, or the cosines below theirs, at the second check after the start; one more confirms it.
    assert told[-1]["step"] <= 4 * CHECK_STEPS and health["since_step"] == told[-1]["step"]


def test_the_verdict_is_that_of_all_checks_after_a_restart(runs):
    daemon, healthy, collapse = runs
    before = [daemon.run(run)["health"] for run in (healthy, collapse)]
    daemon.stop()
    daemon.start()
    assert [daemon.run(run)["health"] for run in (healthy, collapse)] == before
