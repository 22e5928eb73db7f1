"""What the probe of the GPUs tells, seen through the API: faults one by one, samples, gauges, and a machine without."""
import math
import os
import signal
import subprocess
import time

import pytest
from harness import Daemon, wait_until
from test_gpu_devices import GPUS, MACHINE, machine  # noqa: F401
from test_devices import LONG, WORKER

# Xid -> is the GPU taken out of use, and its run sent elsewhere
XIDS = {13: False, 31: False, 43: False, 45: False, 48: True, 63: False, 64: True, 74: True, 79: True, 94: False,
        95: True, 119: True}


def told_of(daemon, run):
    events = daemon.api("GET", f"/v1/runs/{run}/events?limit=500").json()["items"]
    return [(e["data"]["gpu"], e["data"]["xid"]) for e in events if e["type"] == "gpu.xid"]


def put_back(machine, gpu):  # noqa: F811
    assert machine.daemon.api("POST", f"/v1/gpus/{gpu}/uncordon").status_code == 200


def test_each_xid_on_an_idle_gpu(machine):  # noqa: F811
    def reported(temperature):
        machine.tell(f"temperature 1 {temperature}")
        wait_until("a report came", lambda: machine.rows()[GPUS[1]]["temperature_c"] == temperature)
    machine.tell(*(f"xid 1 {xid}" for xid, hardware in XIDS.items() if not hardware))
    for temperature in (50, 51, 52):  # the second is made after the Xids were seen, the third after what came of it
        reported(temperature)
    assert machine.rows()[GPUS[1]]["cordon"] is None
    for xid in (xid for xid, hardware in XIDS.items() if hardware):
        machine.tell(f"xid 1 {xid}")
        row = wait_until(f"Xid {xid}", lambda: (r := machine.rows()[GPUS[1]])["cordon"] and r)
        assert row["cordon"]["by"] == "daemon" and row["cordon"]["reason"].startswith(f"Xid {xid}: ")
        put_back(machine, GPUS[1])


def test_each_xid_under_a_run(machine, images):  # noqa: F811
    run = machine.submit(images)
    row = machine.running_on(run, GPUS[0])
    for xid, hardware in XIDS.items():
        gpu, attempts = row["gpus"][0], row["attempts"]
        begin = time.monotonic()
        machine.tell(f"xid {GPUS.index(gpu)} {xid}")
        wait_until("it is in the run's history", lambda: (gpu, xid) in told_of(machine.daemon, run))
        row = machine.running_on(run, GPUS[1] if hardware and gpu == GPUS[0] else GPUS[0] if hardware else gpu)
        assert time.monotonic() - begin < 20
        assert (row["failures"], row["attempts"]) == (0, attempts + hardware), xid
        assert (machine.rows()[gpu]["cordon"] is not None) == hardware, xid
        put_back(machine, gpu)
    text = machine.daemon.api("GET", "/metrics").text
    counts = [int(line.rsplit(" ")[1]) for line in text.splitlines() if line.startswith("ijepad_gpu_xid_total{")]
    assert sum(counts) == len(XIDS) and f'ijepad_gpu_run_info{{gpu="{GPUS.index(row["gpus"][0])}"' in text


def probe_of(daemon):
    out = subprocess.run(["pgrep", "-P", str(daemon.process.pid), "-f", "gpus --watch"], capture_output=True, text=True)
    return [int(pid) for pid in out.stdout.split()]


def test_a_gpu_that_fell_off_the_bus(machine, images):  # noqa: F811
    """The probe that comes after a driver's failure does not even see it."""
    run = machine.submit(images, gpu_memory_bytes=80 << 30)
    machine.running_on(run, GPUS[2])
    machine.lines[:] = MACHINE[:2]
    machine.write()
    os.kill(probe_of(machine.daemon)[0], signal.SIGKILL)
    row = wait_until("it is out of use", lambda: (r := machine.rows().get(GPUS[2])) and r["cordon"] and r)
    assert row["cordon"] == {**row["cordon"], "by": "daemon", "reason": "the driver no longer lists it"}
    waits = wait_until("the run waits for another", lambda: (r := machine.daemon.run(run))["state"] == "queued" and r)
    assert waits["failures"] == 0
    machine.lines.append(f"gpu GPU-dddd {80 << 30} Big")
    machine.write()
    machine.running_on(run, "GPU-dddd")


def test_samples_and_gauges(machine):  # noqa: F811
    begin = int(time.time())
    machine.tell("used 0 4096", "util 0 35 10", "power 0 120500", "temperature 0 41")

    def samples():
        answer = machine.daemon.api("GET", f"/v1/gpus/{GPUS[0]}/samples?from={begin}")
        assert answer.status_code == 200, answer.text
        tables = answer.json()["tables"]
        return tables and {s["key"]: s["last"][-1] for s in tables[0]["series"]}["power_w"] and tables[0]
    table = wait_until("samples are stored", samples, 30)
    assert (table["run"], table["stream"]) == ("r0", GPUS[0])
    last = {s["key"]: s["last"][-1] for s in table["series"]}
    assert last == pytest.approx({"utilization_ratio": 0.35, "memory_used_bytes": 4096, "power_w": 120.5,
                                  "temperature_c": 41})
    assert begin <= table["step"][0] <= table["step"][-1] <= time.time()
    text = machine.daemon.api("GET", "/metrics").text
    assert f'ijepad_gpu_utilization_ratio{{gpu="0",uuid="{GPUS[0]}"}} 0.35\n' in text
    assert f'ijepad_gpu_memory_total_bytes{{gpu="2",uuid="{GPUS[2]}"}} {80 << 30}\n' in text
    assert f'ijepad_gpu_power_watts{{gpu="1"' not in text, "what is not told is left out"
    assert "nan" not in text.lower() and math.isfinite(last["power_w"])
    assert machine.daemon.api("GET", f"/v1/gpus/{GPUS[0]}/samples?from=5&to=4").status_code == 422
    assert machine.daemon.api("GET", "/v1/gpus/GPU-none/samples").json()["tables"] == []
    assert machine.daemon.api("GET", "/v1/gpus/a%20b/samples").status_code == 404


@pytest.fixture
def bare(tmp_path, monkeypatch):
    monkeypatch.setenv("IJEPAD_NVML", "/nonexistent/libnvidia-ml.so.1")
    daemon = Daemon(tmp_path, worker=WORKER).start()
    yield daemon
    daemon.stop()


def refusal(daemon, images, query="", **body):
    params = {"dataset": str(images), "labels": "none", "device": "cuda"}
    answer = daemon.api("POST", "/v1/runs" + query, json={"kind": "pretrain", "params": params, **body})
    if answer.status_code == 201:
        daemon.api("POST", f"/v1/runs/{answer.json()['id']}/cancel")
        return None
    assert answer.status_code == 422, answer.text
    return answer.json()["errors"]


@pytest.mark.parametrize("query", ["", "?dry_run=1"])
def test_cuda_on_a_machine_without_gpu_is_refused_with_the_reason(bare, images, query):
    errors = wait_until("the probe has looked", lambda: refusal(bare, images, query) if not query else
                        refusal(bare, images) and refusal(bare, images, query))
    assert errors[0]["pointer"] == "/params/device"
    assert "there is no GPU here: no NVIDIA driver here" in errors[0]["detail"]
    before = bare.api("GET", "/v1/runs").json()["items"]
    assert all(run["state"] == "canceled" for run in before)
    answer = bare.api("POST", "/v1/runs" + query, json={
        "kind": "pretrain", "params": {"dataset": str(images), "labels": "none", "device": "auto"}})
    assert answer.status_code in (200, 201), "auto takes what there is"


def test_cuda_is_refused_where_gpus_are_not_looked_for(tmp_path, images):
    daemon = Daemon(tmp_path, worker=WORKER, gpu_probe="off").start()
    try:
        assert "gpu_probe is off" in refusal(daemon, images)[0]["detail"]
    finally:
        daemon.stop()


@pytest.mark.parametrize("body, says", [
    ({"gpus": 17}, "from 1 to 16"), ({"kind": "knn", "gpus": 2}, "only pretrain runs on several devices")])
def test_more_devices_than_a_run_can_use(bare, images, body, says):
    params = {"dataset": str(images), "labels": "none"} if "kind" not in body else {"dataset": str(images)}
    answer = bare.api("POST", "/v1/runs", json={"kind": "pretrain", "params": params, **body})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/gpus", answer.text
    assert says in answer.json()["errors"][0]["detail"]
    fits = bare.api("POST", "/v1/runs", json={"kind": "pretrain", "params": {
        "dataset": str(images), "labels": "none", "max_steps": LONG}, "gpus": 16})
    assert fits.status_code == 201, "16 is not too many"
