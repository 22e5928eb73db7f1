"""Golden values for the linear heads and the logistic regression, in double precision.

    make_probe.py heads OUT.safetensors       needs torch
    make_probe.py logistic OUT.safetensors    needs scikit-learn

heads: BatchNorm1d + Linear and Linear alone, trained by torch.optim.SGD (Nesterov) and by LARS, every
combination of three rates and decays; weights after the last step, losses of each step, and the factors
of torch's MultiStepLR and CosineAnnealingLR.
logistic: scikit-learn's multinomial LogisticRegression, solved to 1e-12.
"""
import sys

import numpy as np

from golden_file import save

ROWS, WIDTH, CLASSES, STEPS = 24, 10, 5, 30
DECAYS = (0.02, 0.0, 0.1)
RATES = {"sgd": (0.01, 0.05, 0.2), "lars": (1.0, 8.0, 30.0)}


def lars_step(torch, groups, rate, momenta):
    """groups: (tensor, decay, is a matrix). g + decay w; a matrix's is scaled by 0.001 |w| / |g|."""
    for tensor, decay, matrix in groups:
        update = tensor.grad + decay * tensor.data
        if matrix and tensor.data.norm() > 0 and update.norm() > 0:
            update = update * (0.001 * tensor.data.norm() / update.norm())
        momentum = momenta.setdefault(id(tensor), torch.zeros_like(update))
        momentum.mul_(0.9).add_(update)
        tensor.data.add_(momentum, alpha=-rate)


def train_head(torch, x, labels, weight, bias, norm, optimizer, rate, decay):
    linear = torch.nn.Linear(WIDTH, CLASSES).double()
    linear.weight.data.copy_(weight)
    linear.bias.data.copy_(bias)
    layers = [torch.nn.BatchNorm1d(WIDTH).double()] if norm else []
    model = torch.nn.Sequential(*layers, linear).train()
    affine = [p for layer in layers for p in layer.parameters()]
    sgd = torch.optim.SGD([{"params": [linear.weight, linear.bias], "weight_decay": decay},
                           {"params": affine, "weight_decay": 0.0}] if norm else
                          [{"params": [linear.weight, linear.bias], "weight_decay": decay}],
                          lr=rate, momentum=0.9, nesterov=True)
    losses, momenta = [], {}
    for step in range(STEPS):
        sgd.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x[step]), labels[step])
        loss.backward()
        losses.append(loss.item())
        if optimizer == "sgd":
            sgd.step()
        else:
            lars_step(torch, [(linear.weight, decay, True), (linear.bias, decay, False)] +
                      [(p, 0.0, False) for p in affine], rate, momenta)
    out = {"weight": linear.weight, "bias": linear.bias}
    if norm:
        out |= {"gamma": layers[0].weight, "beta": layers[0].bias, "running_mean": layers[0].running_mean,
                "running_variance": layers[0].running_var}
    return {k: v.detach().numpy() for k, v in out.items()}, losses


def schedules(torch):
    """Factors at each step of 6 epochs of 7 steps; torch counts epochs for MultiStepLR, steps for the cosine."""
    def factors(make, count):
        parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        schedule, out = make(optimizer), []
        for _ in range(count):
            out.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return np.array(out)
    lr = torch.optim.lr_scheduler
    return {"schedule.step": np.repeat(factors(lambda o: lr.MultiStepLR(o, [2, 3, 5], 0.1), 6), 7),
            "schedule.cosine": factors(lambda o: lr.CosineAnnealingLR(o, 42, eta_min=0.01), 42)}


def heads(path):
    import torch
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(STEPS, ROWS, WIDTH, generator=generator).float() * torch.linspace(0.5, 3, WIDTH) + 1
    labels = torch.randint(0, CLASSES, (STEPS, ROWS), generator=generator)
    x += 0.5 * torch.nn.functional.one_hot(labels % WIDTH, WIDTH)
    weight = (torch.rand(CLASSES, WIDTH, generator=generator) - 0.5).float()
    bias = (torch.rand(CLASSES, generator=generator) - 0.5).float()
    out = {"x": x.numpy(), "labels": labels.numpy(), "weight": weight.numpy(), "bias": bias.numpy(),
           "decays": np.array(DECAYS)} | schedules(torch)
    for optimizer, rates in RATES.items():
        out[f"{optimizer}.rates"] = np.array(rates)
        for norm in (False, True):
            parts, losses = [], []
            for rate, decay in zip(rates, DECAYS):
                part, loss = train_head(torch, x.double(), labels, weight.double(), bias.double(), norm,
                                        optimizer, rate, decay)
                parts.append(part)
                losses.append(loss)
            prefix = f"{optimizer}.{'bn' if norm else 'plain'}."
            out[prefix + "losses"] = np.array(losses)
            for key in parts[0]:
                out[prefix + key] = np.stack([part[key] for part in parts])
    save(path, out)


def logistic(path):
    from sklearn.linear_model import LogisticRegression
    rng = np.random.default_rng(5)
    count, width, classes = 150, 12, 4
    labels = rng.integers(0, classes, count)
    x = (rng.normal(size=(count, width)) + 1.2 * (np.arange(width) % classes == labels[:, None])).astype(np.float32)
    probe = rng.normal(size=(40, width)).astype(np.float32)
    penalties = np.array([1e-1, 1e-2, 2.5e-3])
    out = {"x": x, "labels": labels, "probe": probe, "penalties": penalties}
    for intercept in (False, True):
        for i, penalty in enumerate(penalties):
            model = LogisticRegression(C=1 / (penalty * count), fit_intercept=intercept, solver="newton-cg",
                                       tol=1e-12, max_iter=10000).fit(x.astype(np.float64), labels)
            logits = x.astype(np.float64) @ model.coef_.T + model.intercept_
            logits -= logits.max(1, keepdims=True)
            loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(count), labels])
            prefix = f"{'bias' if intercept else 'plain'}.{i}."
            out[prefix + "weight"] = model.coef_
            out[prefix + "objective"] = np.array([loss + penalty / 2 * (model.coef_ ** 2).sum()])
            out[prefix + "probability"] = model.predict_proba(probe.astype(np.float64))
    save(path, out)


{"heads": heads, "logistic": logistic}[sys.argv[1]](sys.argv[2])
