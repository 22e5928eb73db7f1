"""GET /metrics: the text format, what it counts, and that the counts are right."""
import pathlib
import re

import pytest

import stepping_worker
from harness import Daemon, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = """ijepad_build_info ijepad_runs ijepad_queue_oldest_seconds ijepad_run_failures_total ijepad_gpu_utilization_ratio
    ijepad_gpu_memory_used_bytes ijepad_gpu_power_watts ijepad_gpu_temperature_celsius ijepad_gpu_xid_total ijepad_gpu_run_info
    ijepad_train_images_per_second ijepad_http_request_duration_seconds ijepad_sse_clients ijepad_db_commit_seconds
    ijepad_db_wal_bytes ijepad_frames_dropped_total ijepad_disk_free_bytes process_resident_memory_bytes
    process_virtual_memory_bytes process_cpu_seconds_total process_open_fds process_max_fds process_start_time_seconds""".split()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("prometheus"), worker=pathlib.Path(stepping_worker.__file__), slots=1,
                    retry_base_ms=20, retry_cap_ms=100).start()
    yield daemon
    daemon.stop()


def scrape(daemon):
    """{name: {labels: value}}, after a check of every line."""
    text, samples, kinds = daemon.api("GET", "/metrics").text, {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in kinds and kind in ("gauge", "counter", "histogram"), line
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            name, labels, value = re.fullmatch(r'(\w+)(?:\{((?:\w+="[^"\\\n]*",?)*)\})? (-?[0-9.e+]+)', line).groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name) if kinds.get(name) is None else name
            assert base in kinds, f"{line}: no # TYPE before it"
            assert (labels or "") not in samples.setdefault(name, {}), f"twice: {line}"
            assert not name.endswith("_total") or kinds[name] == "counter", line
            samples[name][labels or ""] = float(value)
    assert set(NAMES) <= set(kinds), set(NAMES) - set(kinds)
    return samples


def submit(daemon, images, seed, **params):
    run = daemon.submit("pretrain", dataset=str(images), labels="none", batch=4, seed=seed, **{"max_steps": 3, **params})
    return daemon.wait_for_state(run, "succeeded", "failed", "quarantined", deadline_s=60)


def test_failures_are_counted_by_reason(daemon, images):
    before = scrape(daemon).get("ijepad_run_failures_total", {})
    submit(daemon, images, seed=1)
    submit(daemon, images, seed=1004)
    submit(daemon, images, seed=1001)
    counts = scrape(daemon)["ijepad_run_failures_total"]
    grown = {label: n - before.get(label, 0) for label, n in counts.items()}
    assert grown == {'reason="no_memory"': 1, 'reason="internal"': 2}, "a bug is tried once more, then the run is quarantined"


def test_histograms_are_cumulative_and_by_route_template(daemon):
    for _ in range(3):
        assert daemon.api("GET", "/v1/runs/r999999").status_code == 404
    samples = scrape(daemon)
    counts = samples["ijepad_http_request_duration_seconds_count"]
    label = 'route="/v1/runs/{id}",method="GET",code="4xx"'
    assert counts[label] == 3
    assert not any("r999999" in labels for labels in counts)
    buckets = [v for labels, v in samples["ijepad_http_request_duration_seconds_bucket"].items() if labels.startswith(label)]
    assert buckets == sorted(buckets) and buckets[-1] == 3 and len(buckets) == 13
    assert 0 < samples["ijepad_http_request_duration_seconds_sum"][label] < 30
    commits = samples["ijepad_db_commit_seconds_bucket"]
    assert list(commits.values()) == sorted(commits.values())
    assert commits['le="+Inf"'] == samples["ijepad_db_commit_seconds_count"][""] > 0


def test_a_device_tells_which_run_it_carries_and_how_fast(daemon, images):
    run = daemon.submit("pretrain", dataset=str(images), labels="none", batch=4, seed=1, max_steps=100000)
    daemon.wait_for_step(run, 1)
    wait_until("its speed is told", lambda: scrape(daemon).get("ijepad_train_images_per_second") == {'gpu="0",uuid="host-0"': 1})
    samples = scrape(daemon)
    assert samples["ijepad_gpu_run_info"] == {f'gpu="0",uuid="host-0",run="{run}"': 1}
    assert samples["ijepad_runs"]['state="running"'] == 1
    daemon.api("POST", f"/v1/runs/{run}/kill")
    daemon.wait_for_state(run, "canceled")
    assert "ijepad_gpu_run_info" not in scrape(daemon)


def test_the_page_names_every_metric_and_no_other(daemon):
    page = (ROOT / "docs" / "monitoring.md").read_text()
    named = [name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    text = daemon.api("GET", "/metrics").text
    assert sorted(named) == sorted(re.findall(r"^# TYPE (\w+) ", text, flags=re.M))
