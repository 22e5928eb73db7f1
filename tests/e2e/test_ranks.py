"""Several ranks of one run: processes that the worker starts, one end for all of them."""
import json
import os
import signal
import subprocess

import pytest

from harness import BUILD, Daemon, wait_until

PARAMS = dict(labels="none", crop=32, patch=8, model="custom", width=32, depth=1, heads=2,
              pred_width=16, pred_depth=1, pred_heads=2, batch=4, epochs=2, warmup_epochs=1,
              min_keep=0, sampler="unbiased", threads=2, loader_threads=1, eval_every_epochs=0)


class Run:
    """A worker by hand; its lines as they come, and its children."""

    def __init__(self, folder, name, images, gpus=2, timeout_s=60, **params):
        self.directory = folder / name
        spec = folder / f"{name}.json"
        spec.write_text(json.dumps({"kind": "pretrain", "gpus": gpus, "rank_timeout_s": timeout_s,
                                    "params": {**PARAMS, "dataset": str(images), **params}}))
        self.errors = open(folder / f"{name}.err", "w+")
        self.process = subprocess.Popen(
            [BUILD / "ijepad-worker", "run", "--spec", spec, "--directory", self.directory],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def ranks(self):
        out = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in out.stdout.split()]

    def wait_for_step(self, step):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "metrics" and event["step"] >= step:
                return
        raise AssertionError(f"it ended before step {step}: {self.words()}")

    def end(self):
        """(exit code, losses by step) once it has ended."""
        out, _ = self.process.communicate(timeout=60)
        events = [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, {e["step"]: e["values"]["loss"] for e in events
                                         if e["event"] == "metrics" and e["stream"] == "train"}

    def words(self):
        self.errors.seek(0)
        return self.errors.read()

    def checkpoints(self):
        return sorted(p.name for p in (self.directory / "checkpoints").iterdir())

    def weights(self):
        return (self.directory / "checkpoints" / self.checkpoints()[-1] /
                "model.safetensors").read_bytes()


@pytest.fixture
def start(tmp_path, images):
    runs = []

    def begin(name, **options):
        runs.append(Run(tmp_path, name, images, **options))
        return runs[-1]
    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
        run.errors.close()


def is_gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_two_ranks_learn_what_one_learns(start):
    code, two = start("two", batch=2).end()
    assert code == 0
    code, one = start("one", gpus=1, batch=4).end()
    assert code == 0 and len(one) >= 6 and one[6] != one[1]
    assert two == pytest.approx(one, rel=1e-5)


def test_a_stop_is_obeyed_by_all_and_the_rest_is_the_same_bits(start):
    whole = start("whole", epochs=200)
    assert whole.end()[0] == 0
    parts = start("parts", epochs=200)
    parts.wait_for_step(20)
    ranks = parts.ranks()
    assert len(ranks) == 1
    parts.process.send_signal(signal.SIGTERM)
    assert parts.end()[0] == 75
    assert all(is_gone(pid) for pid in ranks)
    stopped = parts.checkpoints()[-1]
    assert "step-000000000020" <= stopped < "step-000000000200"
    again = start("parts", epochs=200)
    code, losses = again.end()
    assert code == 0 and min(losses) == int(stopped[-12:]) + 1
    assert again.weights() == whole.weights()


def test_a_rank_that_is_killed_ends_the_run_as_a_crash(start):
    run = start("killed", gpus=3, epochs=100000)
    run.wait_for_step(3)
    ranks = run.ranks()
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    assert run.end()[0] == -signal.SIGKILL
    assert "rank 2 was ended by signal 9" in run.words()
    wait_until("no rank is left", lambda: all(is_gone(pid) for pid in ranks))


def test_the_end_of_the_worker_is_the_end_of_its_ranks(start):
    run = start("parent", gpus=3, epochs=100000)
    run.wait_for_step(3)
    ranks = run.ranks()
    run.process.kill()
    run.process.communicate()
    wait_until("no rank is left", lambda: all(is_gone(pid) for pid in ranks))


def test_a_rank_that_hangs_is_given_up_by_name(start):
    run = start("hung", epochs=100000, timeout_s=1)
    run.wait_for_step(3)
    ranks = run.ranks()
    os.kill(ranks[0], signal.SIGSTOP)
    code, _ = run.end()
    assert code == 74, run.words()
    assert "rank 1: not heard of for 1 s" in run.words()
    wait_until("no rank is left", lambda: all(is_gone(pid) for pid in ranks))


@pytest.mark.parametrize("change, says", [
    ({"gpus": 17}, "gpus must be 1 to 16"),
    ({"gpus": "two"}, "gpus must be 1 to 16"),
    ({"gpus": 2, "kind": "knn"}, "only pretrain runs on several GPUs"),
    ({"rank_timeout_s": 0}, "rank_timeout_s must be"),
    ({"gpuss": 2}, 'did you mean "gpus"'),
])
def test_what_cannot_be_is_refused(tmp_path, images, change, says):
    spec = tmp_path / "spec.json"
    params = {"dataset": str(images)} if "kind" in change else {**PARAMS, "dataset": str(images)}
    spec.write_text(json.dumps({"kind": "pretrain", "params": params, **change}))
    result = subprocess.run([BUILD / "ijepad-worker", "run", "--spec", spec, "--directory",
                             tmp_path / "run"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 78 and says in result.stderr.replace('\\"', '"'), result.stderr


# ---- Under the daemon: host slots are devices like any other --------------------------------------


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("ranks"), slots=2, threads=1, hang_timeout_s=8, retry_base_ms=20,
                    retry_cap_ms=100).start()
    yield daemon
    daemon.stop()


def submit(daemon, images, gpus, **params):
    answer = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "gpus": gpus, "params": {
        **PARAMS, "threads": 0, "dataset": str(images), **params}})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def losses(daemon, run):
    table = daemon.api("GET", f"/v1/metrics?runs={run}&keys=train/loss&agg=none").json()["tables"][0]
    return dict(zip(table["step"], table["series"][0]["last"]))


def ranks_of(daemon):
    """Processes of every live worker, without the workers themselves."""
    found = []
    for worker in daemon.worker_pids():
        out = subprocess.run(["pgrep", "-P", str(worker)], capture_output=True, text=True)
        found += [int(pid) for pid in out.stdout.split()]
    return found


def test_a_run_on_two_devices_is_one_on_one_with_the_whole_batch(daemon, images):
    two = submit(daemon, images, 2, batch=2)
    daemon.wait_for_state(two, "succeeded")
    one = submit(daemon, images, 1, batch=4)
    row = daemon.wait_for_state(one, "succeeded")
    assert len(losses(daemon, one)) == row["steps"] >= 6
    assert losses(daemon, two) == pytest.approx(losses(daemon, one), rel=1e-5)
    assert daemon.run(two)["steps"] == row["steps"]
    dry = daemon.api("POST", "/v1/runs?dry_run=1", json={"kind": "pretrain", "gpus": 2, "params": {
        **PARAMS, "limit": 16, "dataset": str(images), "batch": 4}}).json()
    single = daemon.api("POST", "/v1/runs?dry_run=1", json={"kind": "pretrain", "gpus": 1, "params": {
        **PARAMS, "limit": 16, "dataset": str(images), "batch": 4}}).json()
    assert dry["plan"]["steps"] * 2 == single["plan"]["steps"], "the plan knows of the ranks"


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_ends_or_hangs_is_a_retry_of_the_whole_run(daemon, images, signal_):
    run = submit(daemon, images, 2, epochs=100000, checkpoint_every_steps=5)
    daemon.wait_for_step(run, 12)
    assert daemon.run(run)["gpus"] == ["host-0", "host-1"]
    ranks = ranks_of(daemon)
    assert len(ranks) == 1
    os.kill(ranks[0], signal_)
    wait_until("the second attempt", lambda: daemon.run(run)["attempts"] == 2)
    step = daemon.run(run)["step"]
    daemon.wait_for_state(run, "running")
    daemon.wait_for_step(run, step + 5)
    first = daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][-1]
    if signal_ == signal.SIGKILL:
        assert first["signal"] == signal.SIGKILL, first
    else:
        assert "rank 1: not heard of" in first["text"], first
    assert is_gone(ranks[0])
    again = ranks_of(daemon)
    assert daemon.api("POST", f"/v1/runs/{run}/pause").status_code == 202
    daemon.wait_for_state(run, "paused")
    wait_until("its ranks are gone", lambda: all(is_gone(pid) for pid in again))
    assert daemon.api("POST", f"/v1/runs/{run}/kill").status_code in (200, 202)
