#!/usr/bin/env python3
"""RankMe, LiDAR and explained variance by NumPy in double: writes health.json beside itself.

    python3 tests/golden/health.py

The inputs are made of integers, so that any program makes the same ones: element i of case s is the
float32 of (scale_d * u(i, s) + shift_c), u(i, s) = ((i + 1) * 2654435761 + s * 40503) mod 2^32 / 2^32 - 0.5,
with scale_d = 1 / (1 + d)^decay for dimension d and shift_c = between * u(class * width + d, s + 7) * scale_d for
the element's class (LiDAR). Every figure is computed from its definition: singular values by
numpy.linalg.svd, LiDAR through the inverse square root of the within-class covariance.
"""
import json
import pathlib

import numpy as np


def u(i, s):
    return ((np.asarray(i, dtype=np.uint64) + 1) * 2654435761 + s * 40503) % 2**32 / 2**32 - 0.5


def features(images, draws, width, s, decay, between):
    rows = images * draws
    scale = 1 / (1 + np.arange(width)) ** decay
    own = u(np.arange(rows * width), s).reshape(rows, width)
    group = u(np.arange(images * width), s + 7).reshape(images, width)
    return np.float32((own + between * np.repeat(group, draws, axis=0)) * scale)


def entropy_rank(p):
    return float(np.exp(-(p * np.log(p)).sum()))


def rankme(z):
    s = np.linalg.svd(z.astype(np.float64), compute_uv=False)
    return entropy_rank(s / s.sum() + 1e-7)


def lidar(z, images, draws):
    z = z.astype(np.float64).reshape(images, draws, -1)
    mu = z.mean(axis=1)
    b = mu - mu.mean(axis=0)
    w = (z - mu[:, None]).reshape(images * draws, -1)
    between = b.T @ b / images
    within = w.T @ w / (images * draws) + 1e-4 * np.eye(z.shape[2])
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    s = np.linalg.eigvalsh(root @ between @ root).clip(min=0)
    return entropy_rank(s / s.sum() + 1e-7)


def explained(prediction, target):
    p, t = prediction.astype(np.float64), target.astype(np.float64)
    return float(1 - ((p - t) ** 2).sum() / ((t - t.mean(axis=0)) ** 2).sum())


def main():
    cases = []
    for images, draws, width, s, decay, between in ((40, 4, 12, 1, 0.0, 1.0), (40, 4, 12, 2, 1.0, 1.0),
                                                    (12, 6, 48, 3, 0.5, 0.2), (64, 8, 32, 4, 2.0, 3.0)):
        z = features(images, draws, width, s, decay, between)
        target = features(images, draws, width, s + 20, decay, between)
        half = np.float32(0.5)
        cases.append({"images": images, "draws": draws, "width": width, "seed": s, "decay": decay, "between": between,
                      "rankme": rankme(z), "lidar": lidar(z, images, draws),
                      "explained": explained(z * half + target * half, target)})
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"numpy": np.__version__, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
