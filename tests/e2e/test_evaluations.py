"""The evaluation kinds through the daemon: what they answer, and what is refused before a run starts."""
import json

import pytest

from harness import Daemon

SMALL = dict(crop=32, patch=8, model="custom", width=32, depth=2, heads=2, pred_width=16, pred_depth=1,
             pred_heads=2, threads=1, loader_threads=1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("evaluations")).start()
    yield d
    d.stop()


def result(daemon, kind, **params):
    run_id = daemon.submit(kind, **SMALL, **params)
    daemon.wait_for_state(run_id, "succeeded")
    item, = daemon.api("GET", f"/v1/runs/{run_id}/results").json()["items"]
    assert item["name"] == kind
    whole = json.loads((daemon.state / "runs" / run_id / "result.json").read_text())
    assert whole == item["result"], "short enough to be kept whole"
    return whole


def check_subject(subject, classes, images, repeats):
    assert len(subject["top1_by_seed"]) == repeats and 0 <= subject["top1"] <= 1
    assert (subject["top1_std"] is None) == (repeats == 1)
    assert len(subject["per_class"]) == classes
    assert sum(map(sum, subject["confusion"])) == images * repeats
    right = sum(subject["confusion"][c][c] for c in range(classes))
    assert right / (images * repeats) == pytest.approx(subject["top1"])


def test_linear_probe_as_published(daemon, scenes):
    got = result(daemon, "linear_probe", preset="in1k_linear_lars", dataset=str(scenes), labels="shape",
                 eval_batch=32, probe_epochs=3, probe_milestones=[1, 2], repeats=2)
    assert got["probe"]["mode"] == "augmented images" and got["probe"]["optimizer"].startswith("lars")
    assert got["probe"]["learning_rates"] == [0.1, 0.05, 0.01, 0.001] and got["probe"]["weight_decays"] == [0.0005, 0]
    assert len(got["random"]["heads"]) == 2 * 2 * 4 * 2 and got["trained"] is None
    assert got["random"]["top1"] == max(h["top1"] for h in got["random"]["heads"])
    assert got["seeds"] == [0, 1] and got["checkpoint"] is None and got["build"]
    check_subject(got["random"], len(got["data"]["classes"]), got["data"]["eval"]["images"], 2)


def test_clevr(daemon, scenes):
    got = result(daemon, "clevr", dataset=str(scenes), probe_epochs=3, distance_epochs=4)
    for task, classes in (("count", 8), ("distance", 6)):
        part = got["tasks"][task]
        assert part["data"]["labels"] == task
        check_subject(part["random"], classes, part["data"]["eval"]["images"], 1)


def test_low_shot(daemon, scenes):
    got = result(daemon, "low_shot", dataset=str(scenes), labels="shape", shots=5, repeats=3)
    assert got["low_shot"]["trained_on"] == 5 * len(got["data"]["classes"])
    check_subject(got["random"], len(got["data"]["classes"]), got["data"]["eval"]["images"], 3)
    assert all(fit["converged"] for fit in got["random"]["fits"])


def test_low_shot_from_a_list(daemon, scenes, tmp_path):
    names = sorted(p.name for p in (scenes / "train").rglob("*.jpg"))[:24]
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
    got = result(daemon, "low_shot", dataset=str(scenes), labels="shape", split_list=str(tmp_path / "list.txt"))
    assert got["low_shot"]["trained_on"] == 24
    (tmp_path / "bad.txt").write_text(names[0] + "\nno_such_image.jpg\n")
    run_id = daemon.submit("low_shot", **SMALL, dataset=str(scenes), labels="shape", split_list=str(tmp_path / "bad.txt"))
    row = daemon.wait_for_state(run_id, "failed")
    assert "line 2" in row["reason_text"] and "no_such_image.jpg" in row["reason_text"], row


TUNE = dict(batch=8, epochs=3, warmup_epochs=1, lr=0.02, checkpoint_every_s=0, checkpoint_every_steps=5, labels="shape",
            keep_checkpoints=2, eval_every_epochs=1)


def test_finetune_from_a_pretrained_run(daemon, scenes):
    start = daemon.submit("pretrain", dataset=str(scenes), **SMALL, batch=8, epochs=1, warmup_epochs=0, min_keep=0,
                          sampler="unbiased", labels="none", eval_every_epochs=0)
    daemon.wait_for_state(start, "succeeded")
    got = result(daemon, "finetune", dataset=str(scenes), checkpoint=start, **TUNE)
    assert got["checkpoint"]["sha256"] == daemon.api("GET", f"/v1/runs/{start}/checkpoints").json()["items"][0]["sha256"]
    assert got["finetune"]["steps"] == 3 * got["finetune"]["steps_per_epoch"]
    check_subject(got["trained"], len(got["data"]["classes"]), got["data"]["eval"]["images"], 1)
    assert got["start"]["top1"] is not None and got["trained"]["loss"] > 0


def test_a_killed_finetune_goes_on_as_if_nothing_had_happened(daemon, scenes):
    whole = result(daemon, "finetune", dataset=str(scenes), **{**TUNE, "epochs": 64})
    run_id = daemon.submit("finetune", **SMALL, dataset=str(scenes), **{**TUNE, "epochs": 64})
    daemon.wait_for_step(run_id, 12)
    daemon.kill()
    daemon.start()
    row = daemon.wait_for_state(run_id, "succeeded")
    assert row["attempts"] == 2, row
    again = json.loads((daemon.state / "runs" / run_id / "result.json").read_text())
    assert again == whole
    keys = daemon.api("GET", f"/v1/metrics?runs={run_id}&keys=train/loss&agg=none").json()["tables"][0]
    assert keys["step"] == list(range(1, row["step"] + 1)), "every step once"


def test_low_shot_by_finetuning(daemon, scenes):
    got = result(daemon, "low_shot", dataset=str(scenes), method="finetune", shots=8, **TUNE)
    assert got["low_shot"]["method"] == "fine-tuning" and got["low_shot"]["trained_on"] == 8 * len(got["data"]["classes"])


@pytest.mark.parametrize("kind, params, pointer", [
    ("linear_probe", {"probe_lr": []}, "probe_lr"),
    ("linear_probe", {"probe_lr": [0.1] * 9}, "probe_lr"),
    ("linear_probe", {"probe_weight_decay": [11]}, "probe_weight_decay"),
    ("linear_probe", {"probe_schedule": "step", "probe_milestones": []}, "probe_milestones"),
    ("linear_probe", {"probe_optimizer": "adam"}, "probe_optimizer"),
    ("clevr", {"labels": "shape"}, "labels"),
    ("clevr", {"distance_epochs": 0}, "distance_epochs"),
    ("low_shot", {"split_list": "/lists/x.txt", "repeats": 2}, "repeats"),
    ("low_shot", {"features": "patches"}, "features"),
    ("low_shot", {"fraction": 0}, "fraction"),
    ("low_shot", {"method": "finetune", "repeats": 2}, "repeats"),
    ("finetune", {"layer_decay": 0}, "layer_decay"),
    ("finetune", {"drop_path": 1}, "drop_path"),
    ("finetune", {"batch": 1}, "batch"),
    ("finetune", {"rand_augment": 10.1}, "rand_augment"),
    ("finetune", {"random_erase": 1.1}, "random_erase"),
    ("finetune", {"epochs": 3, "warmup_epochs": 4}, "warmup_epochs"),
    ("finetune", {"probe_lr": 0.1}, "probe_lr")])
def test_refused_before_it_starts(daemon, scenes, kind, params, pointer):
    answer = daemon.api("POST", "/v1/runs", json={"kind": kind, "params": {**SMALL, "dataset": str(scenes), **params}})
    assert answer.status_code == 422, answer.text
    assert f"/params/{pointer}" in [e["pointer"] for e in answer.json()["errors"]], answer.text
