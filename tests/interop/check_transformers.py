#!/usr/bin/env python3
"""Loads an exported checkpoint with transformers' IJepaModel (and timm, where it is installed) and
compares the last hidden state with the features that ijepad-worker writes for the same images.

    check_transformers.py CHECKPOINT [--worker build/ijepad-worker] [--out RESULT.json]

Needs torch and transformers (PyPI), numpy, Pillow. Images are noise and gradients of exactly the
model's size, as PNG, so that no resize stands between the two programs. Both encoders are
compared. Exit status 1 above 1e-4.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from PIL import Image

LIMIT = 1e-4


def run(worker, *arguments):
    done = subprocess.run([worker, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def make_images(folder, side, count=6):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:side, 0:side] / max(1, side - 1)
    for i in range(count):
        noise = rng.integers(0, 256, (side, side, 3))
        smooth = 255 * np.stack([x, y, (x + y) / 2 * (i / count)], -1)
        pixels = noise if i % 2 else (0.8 * smooth + 0.2 * noise)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")


def engine_tokens(worker, checkpoint, encoder, images, folder):
    spec = folder / f"{encoder}.json"
    spec.write_text(json.dumps({"kind": "features", "params": {
        "dataset": str(images), "eval_dataset": str(images), "checkpoint": str(checkpoint),
        "labels": "none", "features": "patches", "splits": "eval", "encoder": encoder, "device": "host"}}))
    out = folder / f"features-{encoder}"
    run(worker, "run", "--spec", spec, "--directory", out)
    return np.load(out / "features" / "eval.npy"), json.loads((out / "features" / "eval.json").read_text())["names"]


def hf_tokens(folder, pictures):
    model = transformers.IJepaModel.from_pretrained(folder, attn_implementation="eager").eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        return model(**processor(pictures, return_tensors="pt")).last_hidden_state.numpy()


def timm_tokens(folder, pictures):
    try:
        import timm
    except ImportError:
        return None
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    mean, std = (np.array(model.pretrained_cfg[k], np.float32) for k in ("mean", "std"))
    x = np.stack([(np.asarray(p, np.float32) / 255 - mean) / std for p in pictures]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        return model.forward_features(torch.from_numpy(x.copy())).numpy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--worker", default="build/ijepad-worker")
    parser.add_argument("--out")
    args = parser.parse_args()
    worker = str(pathlib.Path(args.worker).resolve())
    result = {"torch": torch.__version__, "transformers": transformers.__version__, "limit": LIMIT, "compared": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "images").mkdir()
        for encoder in ("target", "context"):
            info = json.loads(run(worker, "export", "--checkpoint", args.checkpoint, "--format", "hf", "--encoder",
                                  encoder, folder / f"hf-{encoder}"))
            config = json.loads((folder / f"hf-{encoder}" / "config.json").read_text())
            if encoder == "target":
                make_images(folder / "images", config["image_size"])
                result.update(checkpoint_sha256=info["checkpoint_sha256"],
                              model={k: config[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads",
                                                            "intermediate_size", "image_size", "patch_size")})
            engine, names = engine_tokens(worker, args.checkpoint, encoder, folder / "images", folder)
            pictures = [Image.open(folder / "images" / n).convert("RGB") for n in names]
            run(worker, "export", "--checkpoint", args.checkpoint, "--format", "timm", "--encoder", encoder,
                folder / f"timm-{encoder}")
            for peer, tokens in (("transformers", hf_tokens(folder / f"hf-{encoder}", pictures)),
                                 ("timm", timm_tokens(folder / f"timm-{encoder}", pictures))):
                if tokens is not None:
                    result["compared"].append({
                        "peer": peer, "encoder": encoder, "shape": list(engine.shape),
                        "largest_value": float(np.abs(tokens).max()),
                        "largest_difference": float(np.abs(engine - tokens).max())})
    result["passed"] = all(c["largest_difference"] <= LIMIT for c in result["compared"])
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        pathlib.Path(args.out).write_text(text + "\n")
    sys.exit(0 if result["passed"] else 1)


main()
