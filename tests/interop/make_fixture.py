#!/usr/bin/env python3
"""Writes tests/unit/data/official.pth.tar and official.safetensors: a tiny I-JEPA
checkpoint as the public training code saves it (torch.save of a dict with data-parallel names,
AdamW state, epoch), made with PyTorch.

    make_fixture.py OUT.pth.tar EXPECT.safetensors     needs torch and numpy

The tensors are random and of the public names and shapes; position tables are the fixed ones.
EXPECT holds the same tensors (and the output of PyTorch's own forward pass of the target encoder,
"check.output", for the image "check.pixels", 0..255) so that a reader can be compared bit by bit.
"""
import collections
import json
import math
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

CROP, PATCH, DIM, DEPTH, HEADS, HIDDEN = 8, 4, 16, 2, 2, 32
PRED_DIM, PRED_DEPTH = 8, 1


def positions(dim, grid):
    """Row r * grid + c: [sin | cos] of the column, then of the row."""
    freq = 1.0 / 10000 ** (np.arange(dim // 4) / (dim / 4))
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    parts = []
    for place in (columns, rows):
        angle = np.outer(place, freq)
        parts += [np.sin(angle), np.cos(angle)]
    return torch.from_numpy(np.concatenate(parts, 1)).float()[None]


def block(prefix, dim, hidden):
    shapes = {"norm1.weight": (dim,), "norm1.bias": (dim,),
              "attn.qkv.weight": (3 * dim, dim), "attn.qkv.bias": (3 * dim,),
              "attn.proj.weight": (dim, dim), "attn.proj.bias": (dim,),
              "norm2.weight": (dim,), "norm2.bias": (dim,),
              "mlp.fc1.weight": (hidden, dim), "mlp.fc1.bias": (hidden,),
              "mlp.fc2.weight": (dim, hidden), "mlp.fc2.bias": (dim,)}
    return {prefix + k: v for k, v in shapes.items()}


def random(shapes):
    out = collections.OrderedDict()
    for name, shape in shapes.items():
        base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        out[name] = base + 0.1 * torch.randn(shape)
    return out


def encoder():
    shapes = {"patch_embed.proj.weight": (DIM, 3, PATCH, PATCH), "patch_embed.proj.bias": (DIM,)}
    for i in range(DEPTH):
        shapes.update(block(f"blocks.{i}.", DIM, HIDDEN))
    shapes.update({"norm.weight": (DIM,), "norm.bias": (DIM,)})
    state = collections.OrderedDict(pos_embed=positions(DIM, CROP // PATCH))
    state.update(random(shapes))
    return state


def predictor():
    shapes = {"mask_token": (1, 1, PRED_DIM)}
    late = {"predictor_embed.weight": (PRED_DIM, DIM), "predictor_embed.bias": (PRED_DIM,)}
    for i in range(PRED_DEPTH):
        late.update(block(f"predictor_blocks.{i}.", PRED_DIM, 4 * PRED_DIM))
    late.update({"predictor_norm.weight": (PRED_DIM,), "predictor_norm.bias": (PRED_DIM,),
                 "predictor_proj.weight": (DIM, PRED_DIM), "predictor_proj.bias": (DIM,)})
    state = random(shapes)
    state["predictor_pos_embed"] = positions(PRED_DIM, CROP // PATCH)
    state.update(random(late))
    return state


def forward(w, image):
    """The encoder over all patches; image (1, 3, CROP, CROP)."""
    x = F.conv2d(image, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH)
    x = x.flatten(2).transpose(1, 2) + w["pos_embed"]

    def norm(x, name):
        return F.layer_norm(x, (DIM,), w[name + ".weight"], w[name + ".bias"], 1e-6)

    for i in range(DEPTH):
        p = f"blocks.{i}."
        qkv = F.linear(norm(x, p + "norm1"), w[p + "attn.qkv.weight"], w[p + "attn.qkv.bias"])
        q, k, v = qkv.view(1, -1, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(DIM // HEADS), -1) @ v
        a = a.transpose(1, 2).reshape(x.shape)
        x = x + F.linear(a, w[p + "attn.proj.weight"], w[p + "attn.proj.bias"])
        h = F.gelu(F.linear(norm(x, p + "norm2"), w[p + "mlp.fc1.weight"], w[p + "mlp.fc1.bias"]))
        x = x + F.linear(h, w[p + "mlp.fc2.weight"], w[p + "mlp.fc2.bias"])
    return norm(x, "norm")


def optimizer_state(*states):
    """What torch.optim.AdamW.state_dict() holds after one step, for the trainable tensors."""
    weights = [torch.nn.Parameter(t.clone()) for s in states for n, t in s.items() if "pos_embed" not in n]
    opt = torch.optim.AdamW([{"params": [p for p in weights if p.ndim > 1]},
                             {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0}])
    for p in weights:
        p.grad = torch.randn_like(p)
    opt.step()
    return opt.state_dict()


def save_safetensors(path, tensors):
    header, offset, blobs = {}, 0, []
    for name, t in tensors.items():
        blob = t.contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main():
    torch.manual_seed(7)
    parts = {"encoder": encoder(), "predictor": predictor(), "target_encoder": encoder()}

    def module(state):
        out = collections.OrderedDict((f"module.{k}", v) for k, v in state.items())
        out._metadata = collections.OrderedDict({"": {"version": 1}})  # as nn.Module.state_dict has
        return out

    torch.save({**{k: module(v) for k, v in parts.items()},
                "opt": optimizer_state(parts["encoder"], parts["predictor"]), "scaler": None,
                "epoch": 37, "loss": 0.125, "batch_size": 128, "world_size": 16, "lr": 1e-3}, sys.argv[1])
    pixels = torch.randint(0, 256, (CROP, CROP, 3)).float()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = ((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
    expect = {f"{s}.{k}": v for s, state in parts.items() for k, v in state.items()}
    expect["check.pixels"] = pixels
    expect["check.output"] = forward(parts["target_encoder"], image)
    save_safetensors(sys.argv[2], expect)


main()
