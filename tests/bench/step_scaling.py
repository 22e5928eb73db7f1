"""Step time against batch and tokens, and resident memory against what `plan` says.

    step_scaling.py [--model vit_small] [--precision float32] [--threads 2] [--steps 2]

One JSON line per point. `per_flop` is seconds per counted FLOP, relative to the first point; where the machine
shares its host, `per_flop_now` is the better figure: both are related to the vector rate that the machine
gave between the steps. `memory` is what the steps have taken of it (`bytes_taken`) against what the plan
expects to be resident after as many; `bound` is all that the plan has room for.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = pathlib.Path(os.environ.get("IJEPAD_BUILD", ROOT / "build")) / "ijepad-worker"
WARMUP = 1
# batch, pixels: 196 patches at first, then more batch, then other numbers of patches
POINTS = [(16, 224), (8, 224), (32, 224), (16, 160), (16, 288)]


def step(args, batch, crop):
    """The line of `bench step`."""
    command = [str(WORKER), "bench", "step", "--model", args.model, "--precision", args.precision, "--device", "host",
               "--threads", str(args.threads), "--warmup", str(WARMUP), "--steps", str(args.steps), "--batch", str(batch),
               "--crop", str(crop)]
    return json.loads(subprocess.check_output(command, text=True))


def planned(args, batch, crop):
    """What the plan says of memory: expected to be resident after those steps, and at most. Bytes."""
    params = {"model": args.model, "precision": args.precision, "device": "host", "batch": batch, "crop": crop,
              "dataset": "synthetic", "eval_every_epochs": 0}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as spec:
        json.dump({"kind": "pretrain", "params": params}, spec)
        spec.flush()
        text = subprocess.check_output([str(WORKER), "plan", "--spec", spec.name, "--images", "1000", "--batches",
                                        str(WARMUP + args.steps)], text=True)
    plan = json.loads(text.splitlines()[0])
    return plan["bytes_resident"], plan["bytes_total"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_small")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    args = parser.parse_args()
    first = None
    for batch, crop in POINTS:
        line = step(args, batch, crop)
        gflop, seconds = line["gflop_per_image"] * batch, line["step_s"]["median"]
        each = seconds / gflop, seconds * line["vector_now_gflops"] / gflop
        first, taken, (plan, bound) = first or each, line["bytes_taken"], planned(args, batch, crop)
        print(json.dumps({"bench": "step_scaling", "model": args.model, "precision": args.precision, "batch": batch,
                          "crop": crop, "gflop": round(gflop, 1), "s": round(seconds, 3),
                          "share_of_vector_now": round(line["share_of_vector_now"], 3),
                          "per_flop": round(each[0] / first[0], 3), "per_flop_now": round(each[1] / first[1], 3),
                          "resident_mib": round(taken / 2**20), "planned_mib": round(plan / 2**20),
                          "memory": round(taken / plan, 3), "bound_mib": round(bound / 2**20),
                          "build": line["build"]}), flush=True)


if __name__ == "__main__":
    main()
