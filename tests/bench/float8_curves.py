#!/usr/bin/env python3
"""Losses of pretraining with the target encoder in float8, against bfloat16 and float32.

    tests/bench/float8_curves.py OUT.json [--steps 400] [--seeds 0 1 2] [--device host]

Renders scenes, then pretrains the same small model on them in each precision with each seed. On the host float8 is
emulated: the values are those of a GPU, the speed is not. OUT.json gets the curves, every pair compared, what the check
of the features said at the end, the machine and the build. A seed's curves meet the same images and masks in the same
order, so what differs is rounding; how far two seeds are apart says how much of a difference matters.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

from cifar10 import WORKER, curve, machine, run

ARMS = {"float32": {"precision": "float32"}, "bfloat16": {"precision": "bfloat16"},
        "float8": {"precision": "bfloat16", "target_precision": "float8"}}
MODEL = {"model": "custom", "width": 128, "depth": 4, "heads": 4, "mlp_ratio": 4, "crop": 32, "patch": 4,
         "pred_width": 64, "pred_depth": 2, "pred_heads": 4, "min_keep": 4, "batch": 64, "epochs": 100,
         "warmup_epochs": 1}
SSL = ("probe/knn_top1", "ssl/rankme", "ssl/target_std", "ssl/explained")


def one(args, dataset, arm, seed, folder):
    """The row of one arm and seed: every loss, and the last check of the features."""
    images = {"dataset": str(dataset), "labels": "shape", "limit": args.images, "seed": seed}
    params = {**images, **MODEL, **ARMS[arm], "max_steps": args.steps, "eval_every_epochs": 1000, "device": args.device}
    lines, seconds = run({"kind": "pretrain", "params": params}, folder)
    losses = curve(lines, "train", ("loss",), args.steps)["loss"]
    last = curve(lines, "ssl", SSL)
    print(f"{arm} seed {seed}: loss {losses[0]:.4f} -> {losses[-1]:.4f} in {seconds:.0f} s", flush=True)
    return {"arm": arm, "seed": seed, "seconds": seconds, "loss": losses,
            "features": {k: v[-1] for k, v in last.items() if k != "step"}}


def compare(a, b):
    """Relative differences of two curves, and of the means of their last fifths."""
    gaps = [abs(y - x) / x for x, y in zip(a["loss"], b["loss"])]
    tail = len(gaps) // 5
    return {"a": f"{a['arm']} seed {a['seed']}", "b": f"{b['arm']} seed {b['seed']}", "mean": statistics.mean(gaps),
            "max": max(gaps), "last_fifth": sum(b["loss"][-tail:]) / sum(a["loss"][-tail:]) - 1}


def comparisons(rows):
    by = {(r["arm"], r["seed"]): r for r in rows}
    seeds = sorted({r["seed"] for r in rows})
    precisions = [compare(by[a, s], by[b, s]) for s in seeds
                  for a, b in (("float32", "bfloat16"), ("bfloat16", "float8"), ("float32", "float8"))]
    return {"precisions": precisions,
            "seeds": [compare(by["float32", s], by["float32", t]) for s in seeds for t in seeds if s < t]}


def rounded(value):
    """Six digits of every number, which is what a float32 loss holds."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--images", type=int, default=4000)
    p.add_argument("--device", default="host")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        subprocess.run([WORKER, "scenes", root / "scenes", "--count", str(args.images + 400), "--size", "32"],
                       check=True, stdout=subprocess.DEVNULL)
        rows = [one(args, root / "scenes", arm, seed, root / arm / str(seed)) for seed in args.seeds for arm in ARMS]
    build = subprocess.run([WORKER, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    result = {"machine": machine(), "build": build, "device": args.device, "model": MODEL, "images": args.images,
              "steps": args.steps, "compared": comparisons(rows), "rows": rows}
    args.out.write_text(json.dumps(rounded(result)) + "\n")
    for row in result["compared"]["precisions"] + result["compared"]["seeds"]:
        print(f"{row['b']} against {row['a']}: mean {row['mean']:.3%}, last fifth {row['last_fifth']:+.3%}")


if __name__ == "__main__":
    main()
