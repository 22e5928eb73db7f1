#!/usr/bin/env python3
"""Files per second of a dataset's listing and of the run kind `scan`, on many tiny files that were just written.

    scan_rate.py [--files 200000]

Tiny JPEGs (8 x 8 pixels) in 200 class folders; every tenth image is held out, so a run lists the folder twice. The rate of
listing is that of a warm cache: the best of three runs. JSON lines.
"""
import argparse
import io
import json
import os
import pathlib
import subprocess
import tempfile

from PIL import Image

BUILD = pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")).resolve()
CLASSES, ROUNDS = 200, 3


def tiny_jpeg():
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (120, 90, 60)).save(out, "JPEG")
    return out.getvalue()


def write_files(folder, count):
    data = tiny_jpeg()
    for c in range(CLASSES):
        (folder / f"class{c:03}").mkdir(parents=True)
    for i in range(count):
        with open(f"{folder}/class{i % CLASSES:03}/{i:07}.jpg", "wb") as f:
            f.write(data)


def scan(data, work, check):
    spec = work / "spec.json"
    spec.write_text(json.dumps({"kind": "scan", "params": {"dataset": str(data), "check": check}}))
    subprocess.run([BUILD / "ijepad-worker", "run", "--spec", spec, "--directory", work / "run"], check=True,
                   stdout=subprocess.DEVNULL)
    return json.loads((work / "run" / "result.json").read_text())["splits"].values()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=200_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        write_files(work / "data", files)
        for check in ("headers", "pixels"):
            listing, looking = 0, 0
            for _ in range(ROUNDS):
                splits = list(scan(work / "data", work, check))
                assert sum(split["images"] for split in splits) == files
                listing = max(listing, files / min(split["list_s"] for split in splits))
                looking = max(looking, files / sum(split["check_s"] for split in splits))
            print(json.dumps({"bench": "scan", "files": files, "cores": os.cpu_count(), "check": check,
                              "listed_per_s": round(listing), "checked_per_s": round(looking)}), flush=True)


if __name__ == "__main__":
    main()
