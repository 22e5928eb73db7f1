#!/usr/bin/env python3
"""Writes the dashboard's files as a C table: embed.py OUT.c FILE...

The modules that app.js imports become one file without comments, so do the style sheets that app.css imports, where
esbuild is installed: less to load, and one request each. Without it every file is stored as it is, which the browser runs just as well. Each
file is stored plain and gzip-compressed (deterministically); api/static.h declares the table. Paths are the base
names; index.html is also served at /.
"""
import gzip
import hashlib
import os
import shutil
import subprocess
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
OWN = os.path.dirname(os.path.abspath(__file__))


def esbuild(path, *options):
    return subprocess.run(["esbuild", path, "--minify", "--target=es2022", "--log-level=error", *options], check=True,
                          stdout=subprocess.PIPE).stdout


def contents(files):
    """(path, bytes) of what is served."""
    for path in files:
        own = os.path.dirname(os.path.abspath(path)) == OWN
        name, kind = os.path.splitext(os.path.basename(path))
        if own and shutil.which("esbuild"):
            if kind == ".js" and name == "app":
                yield path, esbuild(path, "--bundle", "--format=esm")
                continue
            if kind == ".css" and name == "app":
                yield path, esbuild(path, "--bundle")
            if kind in (".js", ".css"):
                continue
        with open(path, "rb") as source:
            yield path, source.read()


def c_bytes(data):
    lines = [", ".join(str(b) for b in data[i:i + 32]) for i in range(0, len(data), 32)]
    return "{" + ",\n".join(lines) + "}"


def main(out, files):
    rows = []
    with open(out, "w") as f:
        f.write('/* Made by webui/embed.py. */\n#include "api/static.h"\n')
        for i, (path, plain) in enumerate(contents(files)):
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
