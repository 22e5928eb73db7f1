#!/usr/bin/env python3
"""Compares maskings at equal steps by linear probes, over seeds.

    tests/bench/maskings.py DATASET OUT.json [--preset small_32] [--images 15000] [--test 5000]
        [--epochs 16] [--seeds 0 1 2] [--labels folder] [--arms multi_block rasterized ...]
        [--set key=value ...] [--probe key=value ...]

An arm is a masking, or a masking with "+input": targets then come from the target encoder's input.
Each arm and seed is one pretraining run of the preset, with everything but the masking equal, and one
linear probe per label, by `ijepad-worker run`. OUT.json gets every result as it comes; an arm and seed
that it already holds is not run again, so that a stopped comparison goes on.
"""
import argparse
import json
import pathlib
import statistics
import tempfile

from cifar10 import curve, machine, run

SSL = ("ssl/rankme", "ssl/lidar", "ssl/explained", "ssl/target_std", "ssl/pair_cos", "probe/knn_top1")
ARMS = ["multi_block", "rasterized", "block", "random", "multi_block+input"]


def one(args, arm, seed, folder):
    """Pretrains and probes; the row of one arm and seed."""
    masking, _, at = arm.partition("+")
    data = {"dataset": str(args.dataset), "limit": args.images, "eval_limit": args.test, "seed": seed}
    pretrain = {"kind": "pretrain",
                "params": {"preset": args.preset, **data, "epochs": args.epochs, "masking": masking,
                           "target_at": at or "output", "warmup_epochs": args.epochs / 20,
                           "eval_every_epochs": 1, **args.overrides}}
    lines, seconds = run(pretrain, folder / "pretrain")
    last = sorted((folder / "pretrain" / "checkpoints").iterdir())[-1]
    row = {"arm": arm, "seed": seed, "pretrain_s": seconds, "params": pretrain["params"], "probe": {},
           "steps": max(line["step"] for line in lines if line.get("event") == "metrics"),
           "train": curve(lines, "train", ("loss", "context_patches", "target_patches"), 30),
           "ssl": curve(lines, "ssl", SSL, 40)}
    for label in args.labels:
        probe = {"kind": "linear_probe", "params": {**data, "crop": args.crop, "labels": label,
                                                    "checkpoint": str(last), **args.probe}}
        probe_lines, _ = run(probe, folder / f"probe_{label}")
        result = next(line["result"] for line in probe_lines if line.get("event") == "result")
        random = (result["random"] or {}).get("top1")
        row["probe"][label] = {"trained": result["trained"]["top1"], "random": random,
                               "best_head": result["trained"]["best_head"],
                               "standard_error": result["trained"]["top1_error"],
                               "build": result["checkpoint"]["build"]}
    return row


def summarize(rows):
    """Mean and deviation over seeds, by label and arm."""
    table = {}
    for label in rows[0]["probe"]:
        for arm in dict.fromkeys(r["arm"] for r in rows):
            top1 = [100 * r["probe"][label]["trained"] for r in rows if r["arm"] == arm]
            random = [100 * r["probe"][label]["random"] for r in rows
                      if r["arm"] == arm and r["probe"][label]["random"] is not None]
            table.setdefault(label, {})[arm] = {
                "top1_mean": statistics.mean(top1), "top1": top1,
                "top1_deviation": statistics.stdev(top1) if len(top1) > 1 else None,
                "random_mean": statistics.mean(random) if random else None}
    return table


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dataset", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--preset", default="small_32")
    p.add_argument("--images", type=int, default=15000)
    p.add_argument("--test", type=int, default=5000)
    p.add_argument("--crop", type=int, default=32)
    p.add_argument("--epochs", type=float, default=16)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--labels", nargs="+", default=["folder"])
    p.add_argument("--arms", nargs="+", default=ARMS)
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=JSON")
    p.add_argument("--probe", nargs="*", default=[], metavar="KEY=JSON")
    args = p.parse_args()
    args.dataset = args.dataset.resolve()
    args.overrides, args.probe = ({k: json.loads(v) for k, v in (s.split("=", 1) for s in pairs)}
                                  for pairs in (args.set, args.probe))
    rows = json.loads(args.out.read_text())["rows"] if args.out.exists() else []
    done = {(r["arm"], r["seed"]) for r in rows}
    for seed in args.seeds:
        for arm in args.arms:
            if (arm, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows.append(one(args, arm, seed, pathlib.Path(folder)))
            text = json.dumps({"machine": machine(), "summary": summarize(rows), "rows": rows})
            args.out.write_text(text.replace(str(args.dataset), "DATASET").replace(folder + "/", "") + "\n")
            print(arm, seed, rows[-1]["probe"], f"{rows[-1]['pretrain_s']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
