#!/usr/bin/env python3
"""Pretrains on CIFAR-10 and probes against random initialisation, over several seeds.

    tests/bench/cifar10.py CIFAR_FOLDER OUT.json [--images 15000] [--seeds 0 1 2] [--set key=value ...]

CIFAR_FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg. Each seed is one pretraining run of
the preset and one linear probe by `ijepad-worker run`, the program that the daemon starts. OUT.json
gets parameters, curves, probe results, wall times, the machine and the build.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

WORKER = pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")) / "ijepad-worker"


def run(spec, folder):
    """Runs one spec; returns its JSON lines and the seconds that it took."""
    path = pathlib.Path(folder) / "spec.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec))
    start = time.monotonic()
    out = subprocess.run([WORKER, "run", "--spec", path, "--directory", folder], stdout=subprocess.PIPE,
                         text=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()], time.monotonic() - start


def machine():
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags"))
    return {"cpu": cpu, "cores": os.cpu_count(),
            "isa": [f for f in ("avx2", "avx512f", "avx512_bf16") if f in flags.split()]}


def curve(lines, stream, keys, points=200):
    rows = [line for line in lines if line.get("event") == "metrics" and line["stream"] == stream]
    rows = rows[::max(1, len(rows) // points)]
    return {"step": [r["step"] for r in rows],
            **{k: [r["values"].get(k) for r in rows] for k in keys if any(k in r["values"] for r in rows)}}


def one_seed(args, folder, seed, overrides):
    data = {"dataset": str(args.folder), "limit": args.images, "eval_limit": args.test, "seed": seed}
    pretrain = {"kind": "pretrain", "params": {"preset": args.preset, **data, **overrides}}
    lines, train_s = run(pretrain, folder / "pretrain")
    last = sorted((folder / "pretrain" / "checkpoints").iterdir())[-1]
    probe = {"kind": "linear_probe",
             "params": {**data, "crop": 32, "labels": "folder", "checkpoint": str(last)}}
    probe_lines, probe_s = run(probe, folder / "probe")
    result = next(line["result"] for line in probe_lines if line.get("event") == "result")
    print(f"seed {seed}: random {result['random']['top1']:.4f} pretrained "
          f"{result['trained']['top1']:.4f} in {train_s:.0f} + {probe_s:.0f} s", flush=True)
    return {"seed": seed, "pretrain_s": train_s, "probe_s": probe_s, "probe": result,
            "spec": pretrain, "probe_spec": probe,
            "train": curve(lines, "train", ("loss", "lr", "cosine", "grad_norm")),
            "ssl": curve(lines, "ssl", ("probe/knn_top1", "ssl/rankme", "ssl/target_std"))}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--images", type=int, default=15000)
    p.add_argument("--test", type=int, default=5000)
    p.add_argument("--preset", default="small_32")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=JSON")
    args = p.parse_args()
    args.folder = args.folder.resolve()
    overrides = {k: json.loads(v) for k, v in (s.split("=", 1) for s in args.set)}
    with tempfile.TemporaryDirectory() as folder:
        seeds = [one_seed(args, pathlib.Path(folder) / str(s), s, overrides) for s in args.seeds]
    gains = [100 * (s["probe"]["trained"]["top1"] - s["probe"]["random"]["top1"]) for s in seeds]
    summary = {"gain_points": gains, "gain_mean": statistics.mean(gains),
               "gain_deviation": statistics.stdev(gains) if len(gains) > 1 else None}
    text = json.dumps({"machine": machine(), "summary": summary, "seeds": seeds})
    text = text.replace(str(args.folder), "CIFAR_FOLDER").replace(folder + "/", "")
    args.out.write_text(text + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
