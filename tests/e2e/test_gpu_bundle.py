"""run.sh of the GPU bundle with stand-ins for its programs: every stage is told of, whatever the others do."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

GPU = pathlib.Path(__file__).resolve().parents[1] / "gpu"
LINE = '{"images_per_s":100.0,"model":"vit_small","mean_context_patches":46.0,"mean_target_patches":34.0}'

WORKER = """#!/bin/bash
case "$1 $FAKE" in
  "--version "*) echo "ijepad-worker fake" ;;
  "bench nogpu") [ "$5" = host ] || [ "$4" = host ] || { echo 'ijepad-worker: no usable "GPU"' >&2; exit 69; } ;;
  "check-golden broken") echo "loss of step 0  DIFFERS"; exit 65 ;;
  "check-golden hangs") sleep 600 ;;
esac
[ "$1 $2" = "bench step" ] && echo '%s'
exit 0
""" % LINE
SUITE = """#!/bin/bash
echo '{"test":"a/b","result":"passed","seconds":0.1}'
"""


@pytest.fixture
def bundle(tmp_path):
    for name in ("run.sh", "table.awk"):
        shutil.copy(GPU / name, tmp_path / name)
    for folder in ("bin", "lib", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data" / "x.safetensors").write_text("")
    for name, text in (("ijepad-worker", WORKER), ("ops-suite", SUITE)):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def run(bundle, fake, *options):
    # Nothing but the shell's own programs in PATH: no compute-sanitizer, no nvidia-smi; and no PyTorch.
    tools = bundle / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("bash sh sed awk grep tail head cut sort paste mv rm mkdir cat tr dirname realpath sleep kill nproc "
                 "uname date pkill ls timeout").split():
        if shutil.which(name) and not (tools / name).exists():
            (tools / name).symlink_to(shutil.which(name))
    env = {"PATH": str(tools), "HOME": str(bundle), "FAKE": fake, "PYTHON": "", "LANG": "C"}
    done = subprocess.run([str(bundle / "run.sh"), "--out", str(bundle / "out"), *options], env=env, text=True,
                          capture_output=True, timeout=60)
    result = json.loads((bundle / "out" / "results.json").read_text())
    return done, result, {s["stage"]: s for s in result["stages"]}


def test_a_broken_stage_fails_the_run_and_stops_no_other(bundle):
    done, result, stages = run(bundle, "broken")
    assert done.returncode == 1 and result["mode"] == "gpu" and result["complete"]
    assert stages["golden"]["status"] == "failed" and "DIFFERS" in stages["golden"]["note"]
    assert stages["ops_suite"]["status"] == "ok"
    assert stages["step_vit_huge_128"]["lines"][0]["images_per_s"] == 100
    assert stages["memcheck"]["status"] == "skipped"
    # The stand-in trains nothing: no losses to compare is a failure, not a pass.
    assert stages["curves"]["status"] == "failed"
    assert result["failed"] == sum(s["status"] in ("failed", "timeout", "cut") for s in result["stages"])
    table = (bundle / "out" / "table.txt").read_text()
    assert "vit_small" in table and "golden" in table


def test_time_runs_out_for_a_stage_then_for_the_rest(bundle):
    done, _, stages = run(bundle, "hangs", "--budget", "6")
    assert done.returncode == 1
    assert stages["golden"]["status"] == "timeout"
    assert stages["step_vit_huge_128"]["status"] == "cut"


def test_without_a_gpu_it_says_so_and_runs_the_host(bundle):
    done, result, stages = run(bundle, "nogpu")
    assert done.returncode == 2 and result["mode"] == "no-gpu"
    assert "No usable GPU here" in done.stdout and "Nothing about CUDA is tested" in done.stdout
    assert stages["gpu"]["status"] == "absent" and 'no usable "GPU"' in stages["gpu"]["note"]
    assert stages["golden"]["status"] == "ok" and "step_vit_tiny_2" in stages
    assert os.path.getsize(bundle / "out" / "table.txt") > 100
