"""Weights in and out of ijepad-worker, features and sheets, read with NumPy alone."""
import json
import os
import pathlib
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

WORKER = pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")).resolve() / "ijepad-worker"
DATA = pathlib.Path(__file__).resolve().parents[1] / "unit" / "data"
D, DEPTH, HIDDEN, PATCH, SIDE = 16, 2, 32, 4, 8


def worker(*arguments, code=0):
    done = subprocess.run([WORKER, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def run(folder, kind, **params):
    folder.mkdir(exist_ok=True)
    spec = folder / "spec.json"
    spec.write_text(json.dumps({"kind": kind, "params": {"threads": 1, **params}}))
    lines = worker("run", "--spec", spec, "--directory", folder).splitlines()
    return [json.loads(line) for line in lines]


def safetensors(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    kinds = {"F32": np.float32, "I32": np.int32, "U8": np.uint8}
    out = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + o for o in t["data_offsets"])
            out[name] = np.frombuffer(data[begin:end], kinds[t["dtype"]]).reshape(t["shape"])
    return out


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interop")
    worker("import", DATA / "official.pth.tar", "--heads", 2, "--out", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
    return folder


@pytest.mark.parametrize("encoder", ["target", "context"])
def test_hugging_face_folder(imported, tmp_path, encoder):
    worker("export", "--checkpoint", imported, "--encoder", encoder, tmp_path / "hf")
    found = safetensors(tmp_path / "hf" / "model.safetensors")
    source = safetensors(DATA / "official.safetensors")
    part = "target_encoder." if encoder == "target" else "encoder."
    expected = {"embeddings.position_embeddings": source[part + "pos_embed"],
                "embeddings.patch_embeddings.projection.weight": source[part + "patch_embed.proj.weight"],
                "embeddings.patch_embeddings.projection.bias": source[part + "patch_embed.proj.bias"],
                "layernorm.weight": source[part + "norm.weight"], "layernorm.bias": source[part + "norm.bias"]}
    for i in range(DEPTH):
        ours, theirs = f"{part}blocks.{i}.", f"encoder.layer.{i}."
        for kind in ("weight", "bias"):
            q, k, v = np.split(source[f"{ours}attn.qkv.{kind}"], 3)
            expected |= {f"{theirs}attention.attention.query.{kind}": q,
                         f"{theirs}attention.attention.key.{kind}": k,
                         f"{theirs}attention.attention.value.{kind}": v,
                         f"{theirs}attention.output.dense.{kind}": source[f"{ours}attn.proj.{kind}"],
                         f"{theirs}layernorm_before.{kind}": source[f"{ours}norm1.{kind}"],
                         f"{theirs}layernorm_after.{kind}": source[f"{ours}norm2.{kind}"],
                         f"{theirs}intermediate.dense.{kind}": source[f"{ours}mlp.fc1.{kind}"],
                         f"{theirs}output.dense.{kind}": source[f"{ours}mlp.fc2.{kind}"]}
    assert set(found) == set(expected) and len(found) == 16 * DEPTH + 5
    for name, values in expected.items():
        if "position" in name:
            np.testing.assert_allclose(found[name], values, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    card = (tmp_path / "hf" / "README.md").read_text()
    assert f"the {encoder} encoder" in card and "No evaluation was given" in card


def test_configuration_says_what_the_model_is(imported, tmp_path):
    worker("export", "--checkpoint", imported, tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["model_type"] == "ijepa" and config["architectures"] == ["IJepaModel"]
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]) == (D, DEPTH, 2)
    assert (config["intermediate_size"], config["image_size"], config["patch_size"]) == (HIDDEN, SIDE, PATCH)
    assert config["layer_norm_eps"] == 1e-6 and config["hidden_act"] == "gelu" and config["qkv_bias"] is True
    processor = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    np.testing.assert_allclose(processor["image_mean"], [0.485, 0.456, 0.406])
    np.testing.assert_allclose(processor["image_std"], [0.229, 0.224, 0.225])
    assert processor["size"] == {"height": SIDE, "width": SIDE}


def test_official_names_hold_all_parts(imported, tmp_path):
    worker("export", "--checkpoint", imported, "--format", "official", tmp_path / "o")
    found, source = safetensors(tmp_path / "o" / "model.safetensors"), safetensors(DATA / "official.safetensors")
    assert set(found) == {n for n in source if not n.startswith("check.")}


def test_nothing_is_overwritten(imported, tmp_path):
    worker("export", "--checkpoint", imported, tmp_path / "hf")
    before = (tmp_path / "hf" / "model.safetensors").stat().st_mtime_ns
    assert "not empty" in worker("export", "--checkpoint", imported, tmp_path / "hf", code=78)
    assert (tmp_path / "hf" / "model.safetensors").stat().st_mtime_ns == before


def test_a_result_of_another_checkpoint_stays_out_of_the_card(imported, tmp_path):
    wrong = tmp_path / "result.json"
    wrong.write_text(json.dumps({"checkpoint": {"sha256": "0" * 64}, "top1": 1.0}))
    assert "another checkpoint" in worker("export", "--checkpoint", imported, "--result", wrong,
                                          tmp_path / "hf", code=78)
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("kind, shape", [("pooled", (12, D)), ("concat4", (12, 4 * D)), ("patches", (12, 4, D))])
def test_features(imported, images, tmp_path, kind, shape):
    events = run(tmp_path, "features", dataset=str(images), eval_dataset=str(images), checkpoint=str(imported),
                 features=kind, splits="eval")
    assert events[-1]["result"]["splits"]["eval"]["shape"] == list(shape)
    values = np.load(tmp_path / "features" / "eval.npy")
    assert values.shape == shape and values.dtype == np.float32 and np.isfinite(values).all()
    both = safetensors(tmp_path / "features" / "eval.safetensors")
    np.testing.assert_array_equal(both["features"], values)
    np.testing.assert_array_equal(both["labels"], np.load(tmp_path / "features" / "eval.labels.npy"))
    names = json.loads((tmp_path / "features" / "eval.json").read_text())["names"]
    assert names == sorted(p.name for p in images.iterdir())


def test_pooled_is_the_mean_of_the_patches(imported, images, tmp_path):
    for kind in ("pooled", "patches"):
        run(tmp_path / kind, "features", dataset=str(images), eval_dataset=str(images), checkpoint=str(imported),
            features=kind, splits="eval")
    pooled, patches = (np.load(tmp_path / k / "features" / "eval.npy") for k in ("pooled", "patches"))
    np.testing.assert_allclose(pooled, patches.mean(axis=1), atol=1e-5)


def test_features_at_another_size(imported, images, tmp_path):
    """At twice the size there are four times the patches, and the two position tables differ."""
    found = {}
    for positions in ("computed", "bicubic"):
        run(tmp_path / positions, "features", dataset=str(images), eval_dataset=str(images), checkpoint=str(imported),
            features="patches", splits="eval", eval_crop=2 * SIDE, positions=positions)
        found[positions] = np.load(tmp_path / positions / "features" / "eval.npy")
        assert found[positions].shape[1:] == (4 * (SIDE // PATCH) ** 2, D)
    assert abs(found["computed"] - found["bicubic"]).max() > 1e-3
    own = {}
    for positions in ("computed", "bicubic"):
        run(tmp_path / f"own-{positions}", "features", dataset=str(images), eval_dataset=str(images), checkpoint=str(imported),
            splits="eval", eval_crop=SIDE, positions=positions)
        own[positions] = np.load(tmp_path / f"own-{positions}" / "features" / "eval.npy")
    np.testing.assert_array_equal(own["computed"], own["bicubic"])


def test_sheets_and_their_values(tmp_path):
    worker("scenes", tmp_path / "scenes", "--count", 60, "--size", 32)
    run(tmp_path / "pre", "pretrain", preset="scenes_64", dataset=str(tmp_path / "scenes"), crop=32, patch=8,
        batch=16, max_steps=3, epochs=1, warmup_epochs=0.5, eval_every_epochs=0, width=32, depth=2, heads=2, pred_width=16,
        pred_depth=1)
    use = dict(dataset=str(tmp_path / "scenes"), eval_dataset=str(tmp_path / "scenes" / "val"),
               checkpoint=str(tmp_path / "pre"), images=3)
    result = run(tmp_path / "vis", "visualize", **use)[-1]["result"]
    folder = tmp_path / "vis" / "visualize"
    columns = {"masks.png": 6, "pca.png": 3, "error.png": 3, "similarity.png": 6, "attention.png": 4, "neighbors.png": 7, "decoder.png": 4}
    assert set(result["files"]) == set(columns)
    for name, count in columns.items():
        with Image.open(folder / name) as sheet:
            assert sheet.size == (count * 132 + 4, 3 * 132 + 4), name
            assert len(set(sheet.convert("RGB").getdata())) > 8, f"{name} is empty"
    grids = safetensors(folder / "grids.safetensors")
    predicted = grids["target_masks"].any(axis=1)
    assert ((grids["error"] >= 0) == predicted).all() and grids["error"].max() <= 2
    assert not (grids["context_mask"].astype(bool) & predicted).any()
    basis = grids["pca_basis"]
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-4)
    for i, q in enumerate(result["query_patches"]):
        np.testing.assert_allclose(grids["similarity"][:, i, q], 1, atol=1e-5)
    assert grids["attention"].shape == (3, 2, 16) and grids["attention"].min() >= 0
    np.testing.assert_allclose(grids["attention"].sum(axis=2), 1, atol=1e-5)
    every = grids["similarity_all"].astype(float) / 127.5 - 1
    np.testing.assert_allclose(every[:, result["query_patches"]], grids["similarity"], atol=0.006)
    shown, decoded = grids["images"], grids["decoded_prediction"]
    kept = grids["context_mask"].reshape(3, 4, 4).repeat(8, axis=1).repeat(8, axis=2).astype(bool)
    assert shown.shape == decoded.shape == (3, 32, 32, 3) and (shown[kept] == decoded[kept]).all()
    assert -5 < result["decoder"]["explained_from_predictions"] <= result["decoder"]["explained_from_targets"] < 1
    again = run(tmp_path / "vis2", "visualize", reference=str(folder / "grids.safetensors"), **use)[-1]["result"]
    assert again["images"] == result["images"]
    np.testing.assert_array_equal(safetensors(tmp_path / "vis2" / "visualize" / "grids.safetensors")["pca_scores"],
                                  grids["pca_scores"])


def test_sheets_of_a_run_over_time(tmp_path):
    worker("scenes", tmp_path / "scenes", "--count", 60, "--size", 32)
    run(tmp_path / "pre", "pretrain", preset="scenes_64", dataset=str(tmp_path / "scenes"), crop=32, patch=8,
        batch=16, max_steps=9, epochs=3, warmup_epochs=0.5, eval_every_epochs=0, width=32, depth=2, heads=2, pred_width=16,
        pred_depth=1, checkpoint_every_steps=1, keep_checkpoints=6, lr=0.05)
    result = run(tmp_path / "vis", "visualize", dataset=str(tmp_path / "scenes"), checkpoint=str(tmp_path / "pre"), images=3,
                 eval_dataset=str(tmp_path / "scenes" / "val"), history=3)[-1]["result"]
    seen = result["checkpoints"]
    assert [c["step"] for c in seen] == [4, 6, 9], "evenly chosen of 4 to 9"
    assert seen[-1]["grids"] == "grids.safetensors" and seen[0]["grids"] == "grids-000000000004.safetensors"
    scores = []
    for checkpoint in seen:
        assert len(checkpoint["files"]) == 7
        for name in [checkpoint["grids"], *checkpoint["files"]]:
            assert (tmp_path / "vis" / "visualize" / name).stat().st_size > 0
        scores.append(safetensors(tmp_path / "vis" / "visualize" / checkpoint["grids"])["pca_scores"].reshape(-1, 3))
    for before, after in zip(scores, scores[1:]):  # colours match: no component is another's or upside down
        match = np.corrcoef(before.T, after.T)[:3, 3:]
        assert (np.diag(match) > 0).all(), match


def test_a_new_run_begins_with_imported_weights(imported, images, tmp_path):
    shape = dict(dataset=str(images), labels="none", crop=SIDE, patch=PATCH, width=D, depth=DEPTH, heads=2, mlp_ratio=2,
                 pred_width=8, pred_depth=1, batch=4, epochs=1, warmup_epochs=0, eval_every_epochs=0, min_keep=0,
                 target_scale=[0.25, 0.3], max_steps=1, start_lr=0, lr=0, final_lr=0, ema_start=1)
    events = run(tmp_path / "pre", "pretrain", init_from=str(imported), **shape)
    assert not [e for e in events if e["event"] == "warning"]
    path = next(e["path"] for e in events if e["event"] == "checkpoint")
    found, source = safetensors(pathlib.Path(path) / "model.safetensors"), safetensors(DATA / "official.safetensors")
    for name, values in found.items():
        origin = name if name.startswith(("predictor.", "target_")) else "target_" + name
        np.testing.assert_allclose(values, source[origin], atol=1e-6, err_msg=name)
    spec = tmp_path / "wide.json"
    spec.write_text(json.dumps({"kind": "pretrain", "params": {**shape, "depth": 3, "init_from": str(imported)}}))
    refused = worker("run", "--spec", spec, "--directory", tmp_path / "wide", code=65)
    assert "blocks.2" in refused and "is missing" in refused
    spec.write_text(json.dumps({"kind": "pretrain", "params": {**shape, "mlp_ratio": 3, "init_from": str(imported)}}))
    refused = worker("run", "--spec", spec, "--directory", tmp_path / "wide", code=65)
    assert "target_encoder.blocks.0.mlp.fc1.weight is 32x16, expected 48x16" in refused
    spec.write_text(json.dumps({"kind": "pretrain", "params": {**shape, "depth": 1, "init_from": str(imported)}}))
    refused = worker("run", "--spec", spec, "--directory", tmp_path / "wide", code=65)
    assert "encoder.blocks.1.norm1.weight is not expected" in refused
