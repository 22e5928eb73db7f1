"""Writes numpy.safetensors beside this file: a small file in the safetensors format made by NumPy
alone, so that test_safetensors.c reads something our own writer had no part in.

    /usr/bin/python3 tests/unit/data/make_safetensors.py
"""
import json
import pathlib
import struct

import numpy as np

TENSORS = {
    "f32": (np.arange(6, dtype="<f4").reshape(2, 3) / 4 - 0.5, "F32"),
    "f64": (np.array([np.pi, -1e300], dtype="<f8"), "F64"),
    "f16": (np.array([1.5, -2.0, 65504.0, 2.0**-24], dtype="<f2"), "F16"),
    "i64": (np.array([-(2**62), 7], dtype="<i8"), "I64"),
    "i32": (np.array([[-5], [2**31 - 1]], dtype="<i4"), "I32"),
    "u8": (np.array([0, 127, 255], dtype="u1"), "U8"),
    "empty": (np.zeros((0, 4), dtype="<f4"), "F32"),
    "scalar": (np.array(2.5, dtype="<f4"), "F32"),
    "gr\u00fc\u00df": (np.array([1], dtype="<f4"), "F32"),
    # bfloat16 is the upper half of a float32: 3.140625 and -1.
    "bf16": (np.array([0x4049, 0xBF80], dtype="<u2"), "BF16"),
}


def main():
    header, data = {"__metadata__": {"made by": "NumPy", "unit": "1"}}, b""
    for name, (values, kind) in TENSORS.items():
        raw = values.tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = pathlib.Path(__file__).with_name("numpy.safetensors")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
