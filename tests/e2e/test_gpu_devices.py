"""GPUs as devices, told by a stand-in for NVIDIA's library: who gets which, and what faults lead to."""
import json
import os
import pathlib
import re
import time

import pytest
from harness import BUILD, Daemon, wait_until
from test_devices import LONG, WORKER, wait_for_code

GIB = 1 << 30
GPUS = ["GPU-aaaa", "GPU-bbbb", "GPU-cccc"]
MACHINE = [f"gpu {GPUS[0]} {24 * GIB} Small", f"gpu {GPUS[1]} {24 * GIB} Small", f"gpu {GPUS[2]} {80 * GIB} Big"]


class Gpus:
    """A daemon on a machine whose GPUs a script describes."""

    def __init__(self, folder):
        self.script = folder / "gpus.txt"
        self.lines = list(MACHINE)
        self.write()
        self.map = folder / "dcgm"
        self.daemon = Daemon(folder, worker=WORKER, slots=1, retry_base_ms=20, retry_cap_ms=100, dcgm_map_dir=self.map)

    def write(self):
        fresh = self.script.with_suffix(".new")
        fresh.write_text("\n".join(self.lines) + "\n")
        fresh.rename(self.script)

    def tell(self, *lines):
        self.lines += lines
        self.write()

    def forget(self, line):
        self.lines.remove(line)
        self.write()

    def rows(self):
        return {row["id"]: row for row in self.daemon.api("GET", "/v1/gpus").json()["items"] if row["kind"] == "gpu"}

    def wait_for(self, gpu, state):
        return wait_until(f"{gpu} is {state}", lambda: (r := self.rows().get(gpu)) and r["state"] == state and r, 20)

    def submit(self, images, steps=LONG, **extra):
        params = {"dataset": str(images), "batch": 4, "labels": "none", "max_steps": steps, "device": "cuda",
                  "seed": extra.pop("seed", 0)}
        answer = self.daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "params": params, **extra})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def running_on(self, run, *gpus):
        return wait_until(f"{run} runs on {gpus}", lambda: (r := self.daemon.run(run))["state"] == "running" and
                          tuple(r["gpus"]) == gpus and r, 20)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    library = BUILD / "tests" / "fake" / "nvml_fake.so"
    monkeypatch.setenv("IJEPAD_NVML", str(library))
    monkeypatch.setenv("IJEPAD_FAKE_NVML", str(tmp_path / "gpus.txt"))
    gpus = Gpus(tmp_path)
    gpus.daemon.start()
    for gpu in GPUS:
        gpus.wait_for(gpu, "free")
    yield gpus
    gpus.daemon.process.kill()
    gpus.daemon.process.wait()


def test_each_gets_the_smallest_that_does_and_sees_no_other(machine, images):
    big = machine.submit(images, gpu_memory_bytes=24 * GIB + 1)
    machine.running_on(big, GPUS[2])
    pair = machine.submit(images, gpus=2)
    machine.running_on(pair, GPUS[0], GPUS[1])
    row = machine.rows()[GPUS[2]]
    assert (row["state"], row["run"], row["memory_bytes"], row["name"]) == ("held", big, 80 * GIB, "Big")
    seen = [pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in machine.daemon.worker_pids()]
    assert sorted(line for env in seen for line in env if line.startswith(b"CUDA_VISIBLE_DEVICES=")) == [
        b"CUDA_VISIBLE_DEVICES=GPU-aaaa,GPU-bbbb", b"CUDA_VISIBLE_DEVICES=GPU-cccc"]
    assert sorted(wait_for_code(machine.daemon, machine.submit(images), "no_gpus")["blocking_runs"]) == [big, pair]
    assert "80.0 GiB" in wait_for_code(machine.daemon, machine.submit(images, gpus=2, gpu_memory_bytes=80 * GIB),
                                       "too_big")["text"]


def test_a_run_that_fits_none_is_refused_with_what_would(machine, images):
    """At submission, whatever the kind: the model is that of the run it is about, which has not ended."""
    def submit(kind, status, **params):
        answer = machine.daemon.api("POST", "/v1/runs", json={
            "kind": kind, "hold": True, "params": {"dataset": str(images), "device": "cuda", **params}})
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(kind, field, **params):
        (error,) = submit(kind, 422, **params)["errors"]
        assert error["pointer"] == f"/params/{field}" and "the largest GPU here has 80.00" in error["detail"]
        return error["detail"]

    huge = {"model": "vit_huge", "patch": 14, "labels": "none", "precision": "bfloat16"}
    text = refused("pretrain", "batch", batch=512, **huge)
    batch = int(re.search("a batch of ([0-9]+) would fit", text)[1])
    split = re.search("batch ([0-9]+) with accumulate ([0-9]+) keeps", text)
    assert 150 < batch < 512 and int(split[1]) * int(split[2]) == 512
    submit("pretrain", 201, batch=int(split[1]), accumulate=int(split[2]), **huge)
    refused("benchmark", "batch", batch=512, model="vit_huge", patch=14, precision="bfloat16")
    run = submit("pretrain", 201, batch=batch, **huge)["id"]
    assert "keeps the images" in refused("finetune", "batch", batch=1024, checkpoint=run)
    machine.lines[:] = [line.replace(f"{size * GIB} ", f"{4 * GIB} ") for size, line in zip((24, 24, 80), machine.lines)]
    machine.write()
    wait_until("they shrank", lambda: machine.rows()[GPUS[2]]["memory_bytes"] == 4 * GIB)
    for kind, field in (("knn", "eval_batch"), ("features", "eval_batch"), ("finetune", "batch"), ("visualize", "images")):
        (error,) = submit(kind, 422, checkpoint=run)["errors"]
        assert error["pointer"] == f"/params/{field}" and "the largest GPU here has 4.00" in error["detail"]
    batch = int(re.search("a batch of ([0-9]+) would fit", submit("knn", 422, checkpoint=run)["errors"][0]["detail"])[1])
    submit("knn", 201, checkpoint=run, eval_batch=batch)


def test_the_map_for_dcgm_exporter_says_who_has_which(machine, images):
    """A file per GPU that a run holds, named by its index; whole at every instant, and gone with the run."""
    def told():
        return {p.name: p.read_text() for p in machine.map.iterdir()}
    pair = machine.submit(images, gpus=2)
    machine.running_on(pair, GPUS[0], GPUS[1])
    assert told() == {"0": f"{pair}\n", "1": f"{pair}\n"}
    assert [oct(p.stat().st_mode & 0o777) for p in (machine.map, machine.map / "0")] == ["0o755", "0o644"], "others read it"
    big = machine.submit(images, gpu_memory_bytes=24 * GIB + 1)
    machine.running_on(big, GPUS[2])
    machine.daemon.api("POST", f"/v1/runs/{pair}/kill")
    machine.daemon.wait_for_state(pair, "canceled")
    wait_until("its files are gone", lambda: told() == {"2": f"{big}\n"})
    machine.daemon.kill()
    (machine.map / "0").write_text("r9\n")  # as a life that ended so leaves them
    machine.daemon.start()
    machine.running_on(big, GPUS[2])
    wait_until("only what is true is there", lambda: told() == {"2": f"{big}\n"})


def test_a_foreign_process_is_respected_and_named(machine, images):
    lines = [f"process {i} {os.getpid()} {GIB}" for i in range(3)]
    machine.tell(*lines)
    row = machine.wait_for(GPUS[1], "foreign")
    assert row["foreign"][0]["pid"] == os.getpid() and row["schedulable"]
    run = machine.submit(images)
    assert f"process {os.getpid()}" in wait_for_code(machine.daemon, run, "unavailable")["text"]
    machine.forget(lines[1])
    row = machine.running_on(run, GPUS[1])
    worker = machine.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][0]["pid"]
    machine.tell(f"process 1 {worker} {GIB}", "temperature 1 71")
    row = wait_until("the report came", lambda: (r := machine.rows()[GPUS[1]])["temperature_c"] == 71 and r)
    assert (row["state"], row["foreign"]) == ("held", []), "a worker of ours is no stranger"


def test_a_broken_gpu_costs_its_run_no_failure(machine, images):
    run = machine.submit(images)
    machine.running_on(run, GPUS[0])
    machine.daemon.wait_for_step(run, 3)
    assert machine.daemon.api("POST", f"/v1/runs/{run}/checkpoint").status_code == 202
    wait_until("saved", lambda: machine.daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"])
    begin = time.monotonic()
    machine.tell("xid 0 79")
    row = machine.running_on(run, GPUS[1])
    assert time.monotonic() - begin < 20
    assert row["failures"] == 0 and row["attempts"] == 2
    row = machine.rows()[GPUS[0]]
    assert row["state"] == "cordoned" and row["cordon"]["by"] == "daemon" and "Xid 79" in row["cordon"]["reason"]
    assert [(one["xid"], one["class"], one["count"]) for one in row["xids"]] == [(79, "hardware", 1)] and not machine.rows()[GPUS[1]]["xids"]
    newest, oldest = machine.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"]
    assert oldest["cause"] == "gpu_fault"
    events = machine.daemon.api("GET", f"/v1/runs/{run}/events").json()["items"]
    told = next(e["data"] for e in events if e["type"] == "gpu.xid")
    assert (told["gpu"], told["xid"], told["class"]) == (GPUS[0], 79, "hardware")
    machine.daemon.kill()
    machine.daemon.start()
    assert machine.wait_for(GPUS[0], "cordoned")["cordon"]["by"] == "daemon", "it needs a person"
    machine.running_on(run, GPUS[1])


def test_an_application_error_counts_as_the_runs_own(machine, images):
    run = machine.submit(images)
    machine.running_on(run, GPUS[0])
    machine.tell("xid 0 31")
    wait_until("it is told", lambda: any(e["type"] == "gpu.xid" for e in machine.daemon.api(
        "GET", f"/v1/runs/{run}/events").json()["items"]))
    worker = machine.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][0]["pid"]
    os.kill(worker, 6)
    wait_until("it was started again", lambda: machine.daemon.run(run)["attempts"] == 2)
    assert machine.daemon.run(run)["failures"] == 1
    oldest = machine.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][-1]
    assert oldest["cause"] == "xid" and "Xid 31" in oldest["text"]
    assert machine.rows()[GPUS[0]]["cordon"] is None


def test_a_lost_gpu_and_a_silent_driver(machine, images):
    run = machine.submit(images, gpu_memory_bytes=80 * GIB)
    machine.running_on(run, GPUS[2])
    machine.tell("lost 2")
    row = machine.wait_for(GPUS[2], "faulted")
    assert row["trouble"] and not row["schedulable"]
    assert "faulty" in wait_for_code(machine.daemon, run, "unavailable")["text"]
    machine.tell("hang memory")
    machine.wait_for(GPUS[0], "unknown")
    assert "does not answer" in wait_for_code(machine.daemon, machine.submit(images), "unavailable")["text"]
    host = machine.daemon.submit("pretrain", dataset=str(images), batch=4, labels="none", max_steps=3)
    machine.daemon.wait_for_state(host, "succeeded")


def test_the_class_of_an_xid_decides_on_an_idle_gpu(machine):
    """Three GPUs at a time: two errors of the hardware and one that is not."""
    for broken, other in (((48, 64), 13), ((74, 79), 43), ((95, 119), 45), ((120, 140), 63)):
        machine.tell(*(f"xid {i} {xid}" for i, xid in enumerate((other, *broken))))
        for gpu, xid in zip(GPUS[1:], broken):
            assert f"Xid {xid}:" in machine.wait_for(gpu, "cordoned")["cordon"]["reason"]
        assert machine.rows()[GPUS[0]]["cordon"] is None
        for gpu in GPUS[1:]:
            machine.daemon.api("POST", f"/v1/gpus/{gpu}/uncordon")


def test_samples_are_streamed(machine):
    machine.tell(f"used 1 {GIB}", "util 1 50 20", "temperature 1 61", "power 1 200000")
    with machine.daemon.api("GET", "/v1/events?topics=gpus", stream=True) as stream:
        lines = (json.loads(line[6:]) for line in stream.iter_lines(decode_unicode=True) if line.startswith("data: "))
        item = next(item for line in lines for item in line.get("items", []) if item["temperature_c"] == 61)
    assert item == {"gpu": GPUS[1], "utilization_ratio": 0.5, "memory_used_bytes": GIB, "temperature_c": 61,
                    "power_w": 200}


def test_two_runs_dying_on_one_gpu_condemn_it(machine, images):
    for i in (1, 2):
        machine.daemon.api("POST", f"/v1/gpus/{GPUS[i]}/cordon", json={"reason": "not in this test"})
    for _ in range(2):
        run = machine.submit(images)
        machine.running_on(run, GPUS[0])
        os.kill(machine.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][0]["pid"], 11)
        wait_until("it was noticed", lambda: machine.daemon.run(run)["failures"] == 1)
        machine.daemon.api("POST", f"/v1/runs/{run}/kill")
    row = wait_until("it is cordoned", lambda: (r := machine.rows()[GPUS[0]])["cordon"] and r)
    assert row["cordon"]["by"] == "daemon" and run in row["cordon"]["reason"]
