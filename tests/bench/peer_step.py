"""The same I-JEPA training step in PyTorch: the figure that the engine has to beat.

    peer_step.py bench --model vit_small --batch 512 --context 46 --targets 34 [--compile]
    peer_step.py check FILE...     replay reference files and compare the losses

One step is what the engine's is: target encoder over all patches without gradient, second layer norm,
context encoder over the kept patches, predictor over four target blocks, smooth L1 (or l2), backward,
AdamW, moving average. Matrix products in bfloat16 by autocast over float32 weights (--precision float32:
none), attention by scaled_dot_product_attention (by plain products where PyTorch is too old for it), fused AdamW, multi-tensor moving average, random masks of the given sizes.
--compile compiles the transformer block (one graph per shape serves all layers). PyTorch is the only need.
One JSON object per line.
"""
import argparse
import copy
import json
import math
import statistics
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

# width, depth, heads, mlp ratio, predictor depth, patch
SHAPES = {
    "vit_tiny": (192, 12, 3, 4.0, 6, 16), "vit_small": (384, 12, 6, 4.0, 6, 16),
    "vit_base": (768, 12, 12, 4.0, 6, 16), "vit_large": (1024, 24, 16, 4.0, 12, 16),
    "vit_huge": (1280, 32, 16, 4.0, 12, 14),
}
NORM_EPS, TARGET_EPS = 1e-6, 1e-5
DTYPES = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32, "I64": torch.int64}


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        images, tokens, width = x.shape
        qkv = self.qkv(x).view(images, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = attend(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(images, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, ratio):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, NORM_EPS), nn.LayerNorm(width, NORM_EPS)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, int(width * ratio))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def positions(width, grid):
    """Fixed sine and cosine table [1, grid * grid, width]: columns first, then rows."""
    rate = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    parts = []
    for place in (column, row):
        angle = place.reshape(-1, 1).double() * rate
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, 1).float()[None]


def pick(x, index):
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


class PatchEmbed(nn.Module):
    def __init__(self, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)


class Encoder(nn.Module):
    def __init__(self, crop, patch, width, depth, heads, ratio):
        super().__init__()
        self.patch_embed = PatchEmbed(patch, width)
        self.register_buffer("pos_embed", positions(width, crop // patch))
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, NORM_EPS)

    def forward(self, images, keep=None):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.pos_embed
        x = x if keep is None else pick(x, keep)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Predictor(nn.Module):
    def __init__(self, patches, width, own, depth, heads):
        super().__init__()
        self.predictor_embed, self.predictor_proj = nn.Linear(width, own), nn.Linear(own, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, own))
        self.register_buffer("predictor_pos_embed", positions(own, math.isqrt(patches)))
        self.predictor_blocks = nn.ModuleList(Block(own, heads, 4.0) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(own, NORM_EPS)

    def forward(self, context, keep, targets):
        place = self.predictor_pos_embed.expand(len(context), -1, -1)
        seen = self.predictor_embed(context) + pick(place, keep)
        x = torch.cat([torch.cat([seen, (self.mask_token + pick(place, t)).to(seen.dtype)], 1)
                       for t in targets])
        for block in self.predictor_blocks:
            x = block(x)
        return self.predictor_proj(self.predictor_norm(x)[:, keep.shape[1]:])


class Model(nn.Module):
    def __init__(self, crop, patch, width, depth, heads, ratio=4.0, pred_width=384, pred_depth=6,
                 pred_heads=0, loss="smooth_l1"):
        super().__init__()
        self.encoder = Encoder(crop, patch, width, depth, heads, ratio)
        self.predictor = Predictor((crop // patch) ** 2, width, pred_width, pred_depth, pred_heads or heads)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        self.kind = loss

    def forward(self, images, keep, targets):
        with torch.no_grad():
            h = self.target(images).float()
            h = F.layer_norm(h, h.shape[-1:], eps=TARGET_EPS)
            h = torch.cat([pick(h, t) for t in targets])
        z = self.predictor(self.encoder(images, keep), keep, targets)
        loss = F.smooth_l1_loss if self.kind == "smooth_l1" else F.mse_loss
        return loss(z.float(), h), z, h


def optimizer_of(model, fused):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if p.ndim > 1]
    others = [p for n, p in named if p.ndim <= 1]
    options = {"fused": True} if fused else {}
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.04},
                              {"params": others, "weight_decay": 0.0}], lr=1e-3, **options)


def moving_average(model, momentum):
    ours, kept = list(model.target.parameters()), list(model.encoder.parameters())
    with torch.no_grad():
        torch._foreach_mul_(ours, momentum)
        torch._foreach_add_(ours, kept, alpha=1 - momentum)


# ---- Reference files --------------------------------------------------------------------------------

def read(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    meta = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        part = bytearray(data[begin:end])
        tensors[name] = torch.frombuffer(part, dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return meta, tensors


def model_of(meta, tensors):
    model = Model(int(meta["crop"]), int(meta["patch"]), int(meta["dim"]), int(meta["depth"]),
                  int(meta["heads"]), float(meta.get("mlp_ratio", 4)), int(meta.get("pred_width", 384)),
                  int(meta.get("pred_depth", 6)), int(meta.get("pred_heads", 0)),
                  meta.get("loss", "smooth_l1"))
    state = {n[len("init."):]: t for n, t in tensors.items() if n.startswith("init.")}
    model.load_state_dict(state)
    return model


def distance(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def replay(path, device, bf16):
    """Losses of every step with the file's rates; errors of step 0 by group."""
    meta, t = read(path)
    model = model_of(meta, t).to(device)
    optimizer, errors = optimizer_of(model, False), {}
    for step in range(int(meta.get("steps", 5))):
        images, keep = t[f"step{step}.images"].to(device), t[f"step{step}.context"].long().to(device)
        targets = list(t[f"step{step}.targets"].long().to(device))
        lr, decay, momentum = t[f"step{step}.lr_wd_ema"].tolist()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss, z, h = model(images, keep, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        errors[f"loss{step}"] = distance(loss.detach().cpu().reshape(1), t[f"step{step}.loss"])
        if step == 0:
            errors["prediction"] = distance(z.detach().cpu(), t["step0.prediction"])
            errors["target"] = distance(h.cpu(), t["step0.target"])
            pairs = [(p.grad.cpu().double(), t[f"step0.grad.{n}"].double())
                     for n, p in model.named_parameters() if p.requires_grad]
            off, all_ = (math.sqrt(sum(float((f(a, b) ** 2).sum()) for a, b in pairs))
                         for f in (lambda a, b: a - b, lambda a, b: b))
            errors["gradient"] = off / all_
        for group, rate in zip(optimizer.param_groups, (decay, 0.0)):
            group["lr"], group["weight_decay"] = lr, rate
        optimizer.step()
        moving_average(model, momentum)
    return errors


def check(args):
    worst = 0
    for path in args.files:
        errors = replay(path, args.device, args.bf16)
        worst = max(worst, *(e / (1e-4 if n == "gradient" else 1e-5) for n, e in errors.items()))
        print(json.dumps({"file": path.rsplit("/", 1)[-1], "bf16": args.bf16, "errors": errors}, separators=(",", ":")), flush=True)
    return 0 if args.bf16 or worst <= 1 else 1


# ---- Timing -----------------------------------------------------------------------------------------

def fused_works(device):
    """Fused AdamW came to the CPU with PyTorch 2.4."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2] if part.isdigit())
    return device == "cuda" or version >= (2, 4)


def blas_in_use():
    """The library of matrix products that is not built in, by its file."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line or "mkl" in line}
    return sorted(path for path in paths if path.startswith("/"))


def random_indices(count, batch, patches, device):
    return torch.stack([torch.randperm(patches)[:count].sort().values for _ in range(batch)]).to(device)


def bench(args):
    width, depth, heads, ratio, pred_depth, patch = SHAPES[args.model]
    patch, device = args.patch or patch, args.device
    pred_depth, bf16 = args.pred_depth or pred_depth, args.precision == "bfloat16"
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
    model = Model(args.crop, patch, width, depth, heads, ratio, args.pred_width, pred_depth).to(device)
    optimizer = optimizer_of(model, fused_works(device))
    patches = (args.crop // patch) ** 2
    if args.compile:
        for module in model.modules():
            if isinstance(module, Block):
                module.compile(dynamic=False)
    images = torch.randn(args.batch, 3, args.crop, args.crop, device=device)
    keep = random_indices(args.context, args.batch, patches, device)
    targets = [random_indices(args.targets, args.batch, patches, device) for _ in range(4)]

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss, _, _ = model(images, keep, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        moving_average(model, 0.996)
        return loss

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    begin, seconds = time.monotonic(), []
    for _ in range(args.warmup):
        step()
    wait()
    ready = time.monotonic() - begin
    while len(seconds) < args.steps and time.monotonic() - begin < args.limit:
        wait()
        start = time.monotonic()
        loss = step()
        wait()
        seconds.append(time.monotonic() - start)
    median = statistics.median(seconds)
    print(json.dumps({
        "peer": "torch " + torch.__version__, "mode": "compile" if args.compile else "eager",
        "model": args.model, "batch": args.batch, "crop": args.crop, "patch": patch,
        "context": args.context, "targets": args.targets, "precision": args.precision, "device": device,
        "threads": torch.get_num_threads(), "blas": blas_in_use(),
        "images_per_s": args.batch / median, "step_s": median, "steps": len(seconds),
        "warmup_s": round(ready, 2), "loss": float(loss.detach()),
        "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else 0},
        separators=(",", ":")), flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("bench")
    p.add_argument("--model", default="vit_small", choices=SHAPES)
    for name, value in (("batch", 128), ("context", 50), ("targets", 34), ("crop", 224), ("patch", 0),
                        ("warmup", 3), ("steps", 10), ("limit", 60)):
        p.add_argument("--" + name, type=int, default=value)
    for name, value in (("threads", 0), ("pred-width", 384), ("pred-depth", 0)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    p.add_argument("--compile", action="store_true")
    p.set_defaults(run=bench)
    p = commands.add_parser("check")
    p.add_argument("files", nargs="+")
    p.add_argument("--bf16", action="store_true", help="autocast; errors are reported, not judged")
    p.set_defaults(run=check)
    for p in commands.choices.values():
        p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
