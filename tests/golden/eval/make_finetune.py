"""Golden values for fine-tuning: a small vision transformer with a linear classifier in float64.

    make_finetune.py OUT.safetensors      needs torch

Forward pass with dropped branches, loss with soft targets, every gradient; five AdamW steps with layer-wise
learning rates by torch.optim.AdamW; the published schedule (linear warm-up from 0, half a cosine to a floor).
"""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

from golden_file import save

CROP, PATCH, DIM, DEPTH, HEADS, HIDDEN, CLASSES, IMAGES, STEPS = 16, 4, 16, 3, 2, 32, 5, 6, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LR, DECAY, LAYER_DECAY = 2e-3, 0.05, 0.75


def positions(dim, grid):
    """Row r * grid + c: [sin | cos] of the column, then of the row."""
    freq = 1.0 / 10000 ** (np.arange(dim // 4) / (dim / 4))
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    parts = []
    for place in (columns, rows):
        angle = np.outer(place, freq)
        parts += [np.sin(angle), np.cos(angle)]
    return torch.from_numpy(np.concatenate(parts, 1)).float().double()


def shapes():
    out = {"encoder.patch_embed.proj.weight": (DIM, 3, PATCH, PATCH), "encoder.patch_embed.proj.bias": (DIM,)}
    for i in range(DEPTH):
        p = f"encoder.blocks.{i}."
        out |= {p + "norm1.weight": (DIM,), p + "norm1.bias": (DIM,), p + "attn.qkv.weight": (3 * DIM, DIM),
                p + "attn.qkv.bias": (3 * DIM,), p + "attn.proj.weight": (DIM, DIM), p + "attn.proj.bias": (DIM,),
                p + "norm2.weight": (DIM,), p + "norm2.bias": (DIM,), p + "mlp.fc1.weight": (HIDDEN, DIM),
                p + "mlp.fc1.bias": (HIDDEN,), p + "mlp.fc2.weight": (DIM, HIDDEN), p + "mlp.fc2.bias": (DIM,)}
    return out | {"fc_norm.weight": (DIM,), "fc_norm.bias": (DIM,), "head.weight": (CLASSES, DIM),
                  "head.bias": (CLASSES,)}


def layer_of(name):
    if "patch_embed" in name:
        return 0
    return int(name.split(".")[2]) + 1 if "blocks" in name else DEPTH + 1


def forward(w, pixels, drop):
    image = ((pixels.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()).permute(0, 3, 1, 2)
    x = F.conv2d(image, w["encoder.patch_embed.proj.weight"], w["encoder.patch_embed.proj.bias"], stride=PATCH)
    x = x.flatten(2).transpose(1, 2) + positions(DIM, CROP // PATCH)

    def norm(x, name):
        return F.layer_norm(x, (DIM,), w[name + ".weight"], w[name + ".bias"], 1e-6)

    for i in range(DEPTH):
        p = f"encoder.blocks.{i}."
        qkv = F.linear(norm(x, p + "norm1"), w[p + "attn.qkv.weight"], w[p + "attn.qkv.bias"])
        q, k, v = qkv.view(*x.shape[:2], 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(DIM // HEADS), -1) @ v
        a = F.linear(a.transpose(1, 2).reshape(x.shape), w[p + "attn.proj.weight"], w[p + "attn.proj.bias"])
        x = x + drop[i, 0, :, None, None] * a
        h = F.gelu(F.linear(norm(x, p + "norm2"), w[p + "mlp.fc1.weight"], w[p + "mlp.fc1.bias"]))
        x = x + drop[i, 1, :, None, None] * F.linear(h, w[p + "mlp.fc2.weight"], w[p + "mlp.fc2.bias"])
    return F.linear(norm(x.mean(1), "fc_norm"), w["head.weight"], w["head.bias"])


def loss_of(logits, targets):
    return -(targets * F.log_softmax(logits, -1)).sum(-1).mean()


def schedule(steps_per_epoch, epochs, warmup, lr, floor):
    out = []
    for step in range(steps_per_epoch * epochs):
        epoch = step / steps_per_epoch
        out.append(lr * epoch / warmup if epoch < warmup else
                   floor + (lr - floor) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))))
    return np.array(out)


def main():
    torch.manual_seed(11)
    start = {n: (1.0 if "norm" in n and n.endswith("weight") else 0.0) + 0.15 * torch.randn(s)
             for n, s in shapes().items()}
    pixels = torch.randint(0, 256, (STEPS, IMAGES, CROP, CROP, 3), dtype=torch.uint8)
    targets = torch.softmax(2 * torch.randn(STEPS, IMAGES, CLASSES), -1)
    drop = (torch.rand(STEPS, DEPTH, 2, IMAGES) > 0.3).float() / 0.7
    w = {n: torch.nn.Parameter(t.double()) for n, t in start.items()}
    groups = [{"params": [p], "lr": LR * LAYER_DECAY ** (DEPTH + 1 - layer_of(n)),
               "weight_decay": DECAY if p.ndim > 1 else 0.0} for n, p in w.items()]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    losses, out = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = forward(w, pixels[step], drop[step].double())
        loss = loss_of(logits, targets[step].double())
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            out["logits"] = logits.detach().numpy()
            out |= {"grad." + n: p.grad.numpy().copy() for n, p in w.items()}
        optimizer.step()
    out |= {"init." + n: t.numpy() for n, t in start.items()}
    out |= {"final." + n: p.detach().numpy() for n, p in w.items()}
    out |= {"pixels": pixels.numpy().astype(np.int64), "targets": targets.numpy(), "drop": drop.numpy(),
            "losses": np.array(losses), "recipe": np.array([LR, DECAY, LAYER_DECAY]),
            "schedule": schedule(7, 10, 3, 1e-3, 1e-5)}
    save(sys.argv[1], out)


main()
