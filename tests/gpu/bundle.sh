#!/bin/bash
# Makes the directory that proves the CUDA backend on a machine with a GPU: bundle.sh BUILD DIRECTORY
#
# Programs, the shared libraries they need (not the C library, not what comes with the driver or CUDA), the reference
# files and run.sh. Fails above LIMIT_KB.
set -euo pipefail
LIMIT_KB=58593 # 60 MB
build=$1
to=$2
from=$(dirname "$(realpath "$0")")
rm -rf "$to"
mkdir -p "$to/bin" "$to/lib" "$to/data"
for program in ijepad-worker gpu/ops-suite; do
    strip -o "$to/bin/$(basename "$program")" "$build/$program"
done
# The loader and the C library must be the machine's own; the rest comes along.
ldd "$to"/bin/* | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u | while read -r name file; do
    case "$name" in
        libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux*) ;;
        libcuda.so.* | libcudart.so.* | libcublas* | libnccl* | libnvidia-ml*) ;;
        *) cp -L "$file" "$to/lib/$name" ;;
    esac
done
strip --strip-unneeded "$to"/lib/* 2>/dev/null || true
cp "$from"/../golden/*.safetensors "$to/data/"
cp "$from/run.sh" "$from/table.awk" "$from/README.md" "$from/../bench/peer_step.py" "$to/"
chmod u+w -R "$to"
size=$(du -sk "$to" | cut -f1)
if [ "$size" -gt $LIMIT_KB ]; then
    echo "the bundle is $size KB, more than $LIMIT_KB" >&2
    exit 1
fi
echo "  BUNDLE $to: $size KB"
