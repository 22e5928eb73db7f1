#!/usr/bin/env python3
"""Imports a .pth.tar that PyTorch wrote from another implementation of I-JEPA, and compares every tensor.

    check_import.py MODULE.py [--worker build/ijepad-worker]

MODULE.py has a class IJepa(crop, patch, dim, depth, heads, pred_width, pred_depth) with `encoder`, `target` and
`predictor` (public tensor names), compute_loss(images, keep, targets), optimizer() and ema(momentum). One training
step is made and saved as public training code does: "module." names, AdamW state, epoch. Needs torch and numpy.
Exit status 1 unless every weight comes through bit by bit; position tables, which are computed, within 1e-6.
"""
import argparse
import collections
import importlib.util
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch


def run(worker, *arguments):
    done = subprocess.run([worker, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def load(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + o for o in t["data_offsets"])
            out[name] = np.frombuffer(data[begin:end], np.float32).reshape(t["shape"])
    return out


def trained_model(module):
    torch.manual_seed(1)
    model = module.IJepa(crop=224, patch=16, dim=384, depth=12, heads=6, pred_width=384, pred_depth=6)
    optimizer = model.optimizer()
    keep, target = torch.arange(40).expand(2, -1), torch.arange(100, 130).expand(2, -1)
    loss = model.compute_loss(torch.randn(2, 3, 224, 224), keep, [target] * 4)[0]
    loss.backward()
    optimizer.step()
    model.ema(0.996)
    return model, optimizer, loss.item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("--worker", default="build/ijepad-worker")
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("model", args.module)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, optimizer, loss = trained_model(module)
    parts = {"encoder": model.encoder, "target_encoder": model.target, "predictor": model.predictor}
    names = {k: collections.OrderedDict((f"module.{n}", t) for n, t in net.state_dict().items()) for k, net in parts.items()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        torch.save({**names, "opt": optimizer.state_dict(), "scaler": None, "epoch": 7, "loss": loss, "batch_size": 2,
                    "world_size": 1, "lr": 1e-3}, folder / "model.pth.tar")
        info = json.loads(run(args.worker, "import", folder / "model.pth.tar", "--out", folder / "run"))
        run(args.worker, "export", "--checkpoint", folder / "run", "--format", "official", folder / "out")
        got = load(folder / "out" / "model.safetensors")
    want = {f"{k}.{n}": t.numpy() for k, net in parts.items() for n, t in net.state_dict().items()}
    tables = [n for n in want if "pos_embed" in n]
    exact = sum(np.array_equal(got.get(n), want[n]) for n in want if n not in tables)
    largest = max(float(np.abs(got[n] - want[n]).max()) for n in tables if n in got)
    result = {"torch": torch.__version__, "tensors": len(want), "bit_for_bit": exact, "tables": len(tables),
              "tables_largest_difference": largest, "epoch": info["origin"]["imported"]["epoch"],
              "passed": set(got) == set(want) and exact == len(want) - len(tables) and largest <= 1e-6}
    print(json.dumps(result))
    sys.exit(0 if result["passed"] else 1)


main()
