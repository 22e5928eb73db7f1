#!/usr/bin/python3
"""Makes the small hostile images beside this file: what a decoder must refuse, quickly and by name.

tests/unit/test_image_reader.c states what is expected of each. Needs Pillow and numpy; the outputs are
committed, so it runs only to add one.
"""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, data):
    with open(os.path.join(HERE, name), "wb") as out:
        out.write(data)


def encoded(format_name, size=(64, 48), **options):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    image = Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8)))
    out = io.BytesIO()
    image.save(out, format_name, **options)
    return out.getvalue()


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def table(table_class, symbols_by_length):
    counts = bytes(len(symbols_by_length.get(n, b"")) for n in range(1, 17))
    symbols = b"".join(symbols_by_length.get(n, b"") for n in range(1, 17))
    return segment(0xC4, bytes([table_class << 4]) + counts + symbols)


def scans_bomb(width, height, scans):
    """A grey progressive file whose AC scans say "nothing here" in one end-of-band run each."""
    blocks = (width // 8) * (height // 8)
    assert 16384 <= blocks < 32768
    quant = segment(0xDB, b"\0" + b"\x10" * 64)
    frame = segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")
    dc_table, ac_table = table(0, {1: b"\x00"}), table(1, {1: b"\xe0"})
    dc_scan = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(blocks // 8)
    bits = "0" + format(blocks - 16384, "014b") + "1"
    ac_data = int(bits, 2).to_bytes(2, "big").replace(b"\xff", b"\xff\x00")
    ac_scan = segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + ac_data
    body = quant + frame + dc_table + ac_table + dc_scan + ac_scan * (scans - 1)
    return b"\xff\xd8" + body + b"\xff\xd9"


def chunk(kind, body, crc=None):
    value = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", value)


def png(width, height, data=b"", depth=8, color=2, extra=b"", crc=None):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0), crc)
    return (b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(data, 9)) +
            chunk(b"IEND", b""))


def jpeg_header(width, height, components=3, precision=8):
    body = struct.pack(">BHHB", precision, height, width, components)
    body += b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    scan = bytes([components]) + b"".join(bytes([i + 1, 0]) for i in range(components))
    return (b"\xff\xd8" + segment(0xDB, b"\0" + b"\x10" * 64) + segment(0xC0, body) +
            segment(0xDA, scan + b"\0\x3f\0"))


def jpegs():
    whole = encoded("JPEG", quality=80)
    noise = encoded("JPEG", size=(64, 64), quality=80, subsampling=0)
    start = noise.rindex(b"\xff\xda") + 60
    save("truncated.jpg", whole[: len(whole) // 2])
    save("header_only.jpg", whole[: whole.rindex(b"\xff\xda")])
    save("corrupt_entropy.jpg", noise[:start] + b"\xfe" * 40 + noise[start + 40:])
    save("two_bytes.jpg", b"\xff\xd8")
    save("no_size.jpg", jpeg_header(0, 0) + b"\xff\xd9")
    save("five_components.jpg", jpeg_header(16, 16, components=5) + b"\xff\xd9")
    save("twelve_bits.jpg", jpeg_header(16, 16, precision=12) + b"\xff\xd9")
    save("pixels_over_limit.jpg", jpeg_header(10000, 5001) + b"\xff\xd9")
    save("pixels_at_limit.jpg", jpeg_header(10000, 5000) + b"\xff\xd9")
    save("scans_at_limit.jpg", scans_bomb(1024, 1024, 100))
    save("scans_over_limit.jpg", scans_bomb(1024, 1024, 101))
    progressive = jpeg_header(8000, 6000).replace(b"\xff\xc0", b"\xff\xc2")
    scan = progressive.index(b"\xff\xda")
    tables = table(0, {1: b"\x00"}) + table(1, {1: b"\xe0"})
    save("memory_over_limit.jpg", progressive[:scan] + tables + progressive[scan:-2] + b"\0\0")
    save("stray_bytes.jpg", whole[:-2] + b"\0\0\0\0" + whole[-2:])


def pngs():
    row = b"\0" + bytes(3 * 8)
    profile = zlib.compress(bytes(40 << 20), 9)
    save("truncated.png", encoded("PNG")[:-60])
    save("wrong_checksum.png", png(8, 8, row * 8, crc=1))
    save("pixels_over_limit.png", png(10000, 5001))
    save("pixels_at_limit.png", png(10000, 5000))
    save("largest_size.png", png(0x7FFFFFFF, 0x7FFFFFFF))
    save("too_little_data.png", png(8, 8, row * 3))
    save("profile_bomb.png", png(8, 8, row * 8, extra=chunk(b"iCCP", b"x\0\0" + profile)))
    save("palette_missing.png", png(8, 8, bytes(9 * 8), color=3))
    save("named_png.jpg", encoded("PNG"))


def others():
    save("empty.jpg", b"")
    save("text.jpg", b"This is not an image.\n")
    save("page.jpg", b"<html><body>404 Not Found</body></html>\n")
    save("animation.jpg", encoded("GIF"))


jpegs()
pngs()
others()
