#!/usr/bin/python3
"""Makes the small images beside this file and what Pillow makes of them.

`crops.safetensors` holds one uint8 tensor (height, width, 3) per case; its metadata names the file, the
box, the output size and the filter. Written with Pillow 9.4 (Debian 12); run it again only to add a
case: the images themselves are random but seeded.
"""
import json
import os
import struct
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def picture(width, height, seed):
    """Soft shapes, one hard edge and a little noise: every frequency is there."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(3):
        a, b, phase = rng.uniform(0.05, 0.6, 3)
        plane = 127 + 90 * np.sin(a * x + b * y + 6 * phase)
        plane[(x > width * 0.6) & (y > height * 0.4)] = 40 * c + 30
        planes.append(plane + rng.normal(0, 6, plane.shape))
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8), "RGB")


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(name, rows, width, height, depth, interlace):
    """A PNG from its unfiltered rows: for the kinds that Pillow reads but does not write."""
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    with open(f"{HERE}/{name}", "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(
            ">IIBBBBB", width, height, depth, 2, 0, 0, interlace)) +
            png_chunk(b"IDAT", data) + png_chunk(b"IEND", b""))


def write_rare_pngs(rgb):
    pixels = np.asarray(rgb)
    deep = pixels.astype(">u2") * 256 + np.arange(40, dtype=">u2")[None, :, None] * 6
    write_png("rgb16.png", [row.astype(">u2").tobytes() for row in deep], 40, 30, 16, 0)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2))
    rows = [row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx]]
    write_png("interlaced.png", rows, 40, 30, 8, 1)


def write_images():
    rgb = picture(40, 30, 1)
    alpha = Image.fromarray(np.linspace(0, 255, 1200).reshape(30, 40).astype(np.uint8), "L")
    rgb.save(f"{HERE}/rgb.png")
    rgb.convert("L").save(f"{HERE}/grey.png")
    rgb.convert("1").save(f"{HERE}/bilevel.png")
    rgb.quantize(13).save(f"{HERE}/palette.png", transparency=3)
    Image.merge("RGBA", (*rgb.split(), alpha)).save(f"{HERE}/alpha.png")
    Image.merge("LA", (rgb.convert("L"), alpha)).save(f"{HERE}/grey_alpha.png")
    write_rare_pngs(rgb)
    photo = picture(83, 61, 2)
    photo.save(f"{HERE}/420.jpg", quality=90, subsampling=2)
    photo.save(f"{HERE}/422.jpg", quality=85, subsampling=1)
    photo.save(f"{HERE}/444_progressive.jpg", quality=90, subsampling=0, progressive=True)
    photo.convert("L").save(f"{HERE}/grey.jpg", quality=90)
    photo.convert("CMYK").save(f"{HERE}/cmyk.jpg", quality=90)
    photo.save(f"{HERE}/png_named.JPEG", format="PNG")


def cases():
    for name in sorted(os.listdir(HERE)):
        if not name.lower().endswith((".png", ".jpg", ".jpeg")):
            continue
        width, height = Image.open(f"{HERE}/{name}").size
        yield name, (0, 0, width, height), (width, height), "bilinear"
        yield name, (3, 5, width - 9, height - 8), (16, 16), "bilinear"
    for name, box in (("rgb.png", (0, 0, 40, 30)), ("420.jpg", (17, 9, 55, 41))):
        for filter_name in FILTERS:
            for size in ((7, 5), (24, 24), (64, 50), (box[2], 11), (13, box[3]), (1, 1)):
                yield name, box, size, filter_name


def centers():
    """Shorter side to round(size * 256 / 224), then the central square, as torchvision does it."""
    for name in ("rgb.png", "420.jpg", "grey.jpg"):
        for size in (8, 24, 57, 61):
            image = Image.open(f"{HERE}/{name}").convert("RGB")
            side = round(size * 256 / 224)
            width, height = (side * length // min(image.size) for length in image.size)
            x, y = round((width - size) / 2), round((height - size) / 2)
            image = image.resize((width, height), Image.BICUBIC)
            yield name, size, image.crop((x, y, x + size, y + size))


def main():
    write_images()
    header, blobs, offset, metadata = {}, [], 0, {}
    for i, (name, (x, y, w, h), size, filter_name) in enumerate(cases()):
        image = Image.open(f"{HERE}/{name}").convert("RGB").crop((x, y, x + w, y + h))
        pixels = np.asarray(image.resize(size, FILTERS[filter_name])).tobytes()
        metadata[f"crop{i}"] = json.dumps({"file": name, "x": x, "y": y, "w": w, "h": h,
                                           "out_w": size[0], "out_h": size[1],
                                           "filter": filter_name})
        header[f"crop{i}"] = {"dtype": "U8", "shape": [size[1], size[0], 3],
                              "data_offsets": [offset, offset + len(pixels)]}
        blobs.append(pixels)
        offset += len(pixels)
    for i, (name, size, image) in enumerate(centers()):
        metadata[f"center{i}"] = json.dumps({"file": name, "center": size})
        header[f"center{i}"] = {"dtype": "U8", "shape": [size, size, 3],
                                "data_offsets": [offset, offset + 3 * size * size]}
        blobs.append(np.asarray(image).tobytes())
        offset += 3 * size * size
    text = json.dumps({"__metadata__": metadata, **header}).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{HERE}/crops.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


main()
