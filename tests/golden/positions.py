#!/usr/bin/env python3
"""Position tables stretched to other grids by torch, in double: writes positions.json beside itself.

    python3 tests/golden/positions.py        (needs torch)

The tables are rounded to float32 before they are stretched, as a checkpoint holds them. They are made here
from the formula, in the order [sin column | cos column | sin row | cos row].
"""
import json
import pathlib

import numpy as np
import torch


def table(grid, width):
    q = width // 4
    omega = 10000.0 ** (-np.arange(q) / q)
    row, column = np.divmod(np.arange(grid * grid), grid)
    parts = [f(np.outer(at, omega)) for at in (column, row) for f in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def main():
    cases = []
    for old, new, width in ((4, 7, 8), (6, 3, 8), (5, 5, 4), (2, 6, 4)):
        image = torch.from_numpy(table(old, width).astype(np.float64)).reshape(1, old, old, width).permute(0, 3, 1, 2)
        out = torch.nn.functional.interpolate(image, size=(new, new), mode="bicubic", align_corners=False)
        values = out.permute(0, 2, 3, 1).reshape(-1)
        cases.append({"from": old, "to": new, "width": width, "values": [round(v, 12) for v in values.tolist()]})
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"torch": torch.__version__, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
