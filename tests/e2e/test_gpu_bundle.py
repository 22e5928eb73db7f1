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
[ "$1 $2" = "bench step" ] && { echo "$*" >>"$(dirname "$0")/../steps"; echo '%s'; }
[ "$1" = plan ] && case "$(cat "$3")" in
  *huge*:512*) echo '{"fits":false,"largest_batch":246,"split_batch":128,"split_accumulate":4}' ;;
  *large*:512*) echo '{"fits":false,"largest_batch":0,"split_batch":0,"split_accumulate":0}' ;;
  *) echo '{"fits":true,"largest_batch":600,"split_batch":0,"split_accumulate":0}' ;;
esac
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
                 "uname date pkill ls timeout expr").split():
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


def test_every_size_is_timed_and_what_does_not_fit_is_split(bundle):
    (bundle / "tools").mkdir()
    (bundle / "tools" / "nvidia-smi").write_text("#!/bin/sh\necho 81000\n")
    (bundle / "tools" / "nvidia-smi").chmod(0o755)
    _, _, stages = run(bundle, "plain")
    for model in ("vit_small", "vit_base", "vit_large", "vit_huge"):
        for batch in (128, 256, 512):
            assert f"step_{model}_{batch}" in stages, "128 to 512 images"
    whole, split, never = (stages[f"step_vit_{n}"] for n in ("huge_256", "huge_512", "large_512"))
    assert whole["status"] == split["status"] == "ok" and len(whole["lines"]) == 1
    assert split["lines"][0] == {"asked_batch": 512, "fits": False, "split_batch": 128, "split_accumulate": 4}
    steps = (bundle / "steps").read_text().splitlines()
    assert sum("--batch 128 --accumulate 4 --model vit_huge" in line for line in steps) == 1
    assert sum("--batch 256 --accumulate 1 --model vit_huge" in line for line in steps) == 1
    assert never["status"] == "skipped" and "does not fit" in never["note"]
    assert not any("512" in line and "vit_large" in line for line in steps)


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
