#!/usr/bin/env python3
"""Writes the dashboard's files as a C table: embed.py OUT.c FILE...

Each file is stored gzip-compressed (deterministically) and as it is; api/static.h declares the
table. Paths are the base names; index.html is also served at /.
"""
import gzip
import hashlib
import os
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def c_bytes(data):
    lines = [", ".join(str(b) for b in data[i:i + 32]) for i in range(0, len(data), 32)]
    return "{" + ",\n".join(lines) + "}"


def main(out, files):
    rows = []
    with open(out, "w") as f:
        f.write('/* Made by webui/embed.py. */\n#include "api/static.h"\n')
        for i, path in enumerate(files):
            with open(path, "rb") as source:
                plain = source.read()
            packed = gzip.compress(plain, 9, mtime=0)
            tag = hashlib.sha256(plain).hexdigest()[:16]
            f.write(f"static const unsigned char plain_{i}[] = {c_bytes(plain)};\n")
            f.write(f"static const unsigned char packed_{i}[] = {c_bytes(packed)};\n")
            kind = TYPES[os.path.splitext(path)[1]]
            rows.append(f'    {{"/{os.path.basename(path)}", "{kind}", "\\"{tag}\\"", plain_{i}, '
                        f"sizeof plain_{i}, packed_{i}, sizeof packed_{i}}},\n")
        f.write("const struct static_file static_files[] = {\n" + "".join(rows) + "};\n")
        f.write(f"const size_t static_file_count = {len(rows)};\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
