"""Step time against batch and tokens, and resident memory against what `plan` says.

    step_scaling.py [--model vit_small] [--precision float32] [--threads 2] [--steps 2]

One JSON line per point. `per_flop` is seconds per counted FLOP, relative to the first point; where the machine
shares its host, `per_flop_now` is the better figure: both are related to the vector rate that the machine
gave between the steps. `memory` is the peak of the resident memory against the plan's total.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = pathlib.Path(os.environ.get("IJEPAD_BUILD", ROOT / "build")) / "ijepad-worker"
# batch, pixels: 196 patches at first, then more batch, then other numbers of patches
POINTS = [(16, 224), (8, 224), (32, 224), (16, 160), (16, 288)]


def step(args, batch, crop):
    """The line of `bench step`, and the peak of its resident memory in MiB."""
    command = [str(WORKER), "bench", "step", "--model", args.model, "--precision", args.precision, "--device", "host",
               "--threads", str(args.threads), "--steps", str(args.steps), "--batch", str(batch), "--crop", str(crop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"bench step: exit {child.returncode}")
    return json.loads(text), usage.ru_maxrss / 1024


def planned(args, batch, crop):
    """What the plan says of memory, in MiB."""
    params = {"model": args.model, "precision": args.precision, "device": "host", "batch": batch, "crop": crop,
              "dataset": "synthetic"}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as spec:
        json.dump({"kind": "pretrain", "params": params}, spec)
        spec.flush()
        text = subprocess.check_output([str(WORKER), "plan", "--spec", spec.name, "--images", "1000"], text=True)
    return json.loads(text.splitlines()[0])["bytes_total"] / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_small")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    args = parser.parse_args()
    first = None
    for batch, crop in POINTS:
        line, resident = step(args, batch, crop)
        gflop, seconds = line["gflop_per_image"] * batch, line["step_s"]["median"]
        each = seconds / gflop, seconds * line["vector_now_gflops"] / gflop
        first, plan = first or each, planned(args, batch, crop)
        print(json.dumps({"bench": "step_scaling", "model": args.model, "precision": args.precision, "batch": batch,
                          "crop": crop, "gflop": round(gflop, 1), "s": round(seconds, 3),
                          "share_of_vector_now": round(line["share_of_vector_now"], 3),
                          "per_flop": round(each[0] / first[0], 3), "per_flop_now": round(each[1] / first[1], 3),
                          "resident_mib": round(resident), "planned_mib": round(plan),
                          "memory": round(resident / plan, 3), "build": line["build"]}), flush=True)


if __name__ == "__main__":
    main()
