#!/bin/bash
# Runs each fuzz target: fuzz.sh BUILD SECONDS. IJEPAD_SEED repeats a run. New inputs stay in
# BUILD/corpus/, those that crash in BUILD/crash-*; a crash is repeated by naming its file to the program.
set -uo pipefail

build=$1 seconds=$2 seed=${IJEPAD_SEED:-$((RANDOM * 32768 + RANDOM + 1))} failed=0
echo "IJEPAD_SEED=$seed"
for program in "$build"/tests/fuzz/fuzz_*; do
    name=$(basename "$program")
    mkdir -p "$build/corpus/$name"
    "$program" -seed="$seed" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$build/" -close_fd_mask=1 "$build/corpus/$name" \
        "tests/fuzz/corpus/${name#fuzz_}" >"$build/$name.log" 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
    if [ $code -eq 0 ]; then
        echo "ok    $name: $runs runs"
    else
        echo "FAIL  $name (code $code)"
        tail -n 40 "$build/$name.log"
        failed=1
    fi
done
exit $failed
