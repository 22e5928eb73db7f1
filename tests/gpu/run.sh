#!/bin/bash
# What there is to know about this machine's GPU and the CUDA backend, in under nine minutes:
#
#   run.sh [--cpu-check] [--out DIR] [--budget SECONDS]
#
# Needs an NVIDIA driver and cuBLASLt of CUDA 13 or 12 (a toolkit, or a Python environment's nvidia packages);
# PyTorch, where there is one, is timed on the same step. Results: DIR/results.json and DIR/table.txt, written
# anew after every stage, and a log per stage. A stage that fails or takes too long does not stop the others.
# --cpu-check runs the host's path of every stage on tiny sizes.
# Exit: 0 every stage passed; 1 one did not; 2 there is no usable GPU (the host's path was run instead).
set -uo pipefail

here=$(dirname "$(realpath "$0")")
out=$PWD/ijepad-gpu-results
budget=520
mode=gpu
while [ $# -gt 0 ]; do
    case "$1" in
        --cpu-check) mode=cpu-check ;;
        --out) out=$2; shift ;;
        --budget) budget=$2; shift ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 64 ;;
    esac
    shift
done
mkdir -p "$out" && out=$(realpath "$out") || exit 1
rm -f "$out"/*.jsonl "$out"/*.log "$out"/results.json "$out"/table.txt
began=$SECONDS
bad=0
no_gpu=0

# ---- Programs ---------------------------------------------------------------------------------------

# Ours, with the libraries that came along; nobody else gets to see those.
ours() { LD_LIBRARY_PATH="$here/lib" OMP_WAIT_POLICY=passive "$@"; }
worker() { ours "$here/bin/ijepad-worker" "$@"; }

# The first Python with PyTorch, one that sees a GPU if there is any; PYTHON, where it is set, is the only one asked.
find_python() {
    local candidate best=
    for candidate in ${PYTHON-python3 python /opt/*/bin/python3 /opt/*/.venv/bin/python3 $HOME/.venv/bin/python3}; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        case $(timeout 60 "$candidate" -c 'import torch; print("gpu" if torch.cuda.is_available() else "cpu")' 2>/dev/null) in
            gpu) echo "$candidate"; return ;;
            cpu) best=${best:-$candidate} ;;
        esac
    done
    echo "$best"
}

# cuBLASLt: a toolkit, the loader's cache, or a Python environment.
find_cublaslt() {
    local name file base
    [ -n "${IJEPAD_CUBLASLT:-}" ] && { echo "$IJEPAD_CUBLASLT"; return; }
    for name in libcublasLt.so.13 libcublasLt.so.12; do
        for file in "${CUDA_HOME:-/usr/local/cuda}"/lib64/$name /usr/local/cuda*/lib64/$name \
            /usr/local/cuda*/targets/*/lib/$name /usr/lib/x86_64-linux-gnu/$name; do
            [ -e "$file" ] && { echo "$file"; return; }
        done
        file=$(ldconfig -p 2>/dev/null | awk -v n="$name" '$1 == n { print $NF; exit }')
        [ -n "$file" ] && { echo "$file"; return; }
    done
    for base in "${python:-python3}" python3; do
        command -v "$base" >/dev/null 2>&1 || continue
        file=$("$base" - 2>/dev/null <<'PY'
import glob, sys
found = [f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib/libcublasLt.so.1[23]")]
print(sorted(found)[-1] if found else "")
PY
        )
        [ -n "$file" ] && { echo "$file"; return; }
    done
}

# NCCL, which the test of one rank uses: by the loader's name, or in a Python environment.
find_nccl() {
    [ -n "${IJEPAD_NCCL:-}" ] && { echo "$IJEPAD_NCCL"; return; }
    ldconfig -p 2>/dev/null | grep -q 'libnccl.so.2 ' && return
    command -v "${python:-python3}" >/dev/null 2>&1 || return
    "${python:-python3}" -c 'import glob, sys
print(next((f for p in sys.path for f in glob.glob(p + "/nvidia/nccl/lib/libnccl.so.2")), ""))' 2>/dev/null
}

# ---- Stages -----------------------------------------------------------------------------------------

quote() { printf '%s' "$1" | tr '\n\t' '  ' | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g'; }

# Everything known so far, as one JSON document and one table.
write_results() {
    {
        printf '{"format":1,"mode":"%s","complete":%s,"failed":%d,"seconds":%d,"stages":[' \
            "$mode" "$1" "$bad" $((SECONDS - began))
        local first=1 line
        while read -r line; do
            [ $first = 1 ] || printf ','
            first=0
            printf '\n{%s,"lines":[' "$line"
            local name=${line#*\"stage\":\"}
            grep '^{.*}$' "$out/${name%%\"*}.jsonl" 2>/dev/null | paste -sd, -
            printf ']}'
        done <"$out/stages.log"
        printf '\n]}\n'
    } >"$out/results.tmp"
    mv "$out/results.tmp" "$out/results.json"
    local files=() file model
    for file in "$out/machine.jsonl" "$out/stages.log" "$out"/step_*.jsonl; do
        [ -e "$file" ] && files+=("$file")
        model=${file##*/step_} # its peers beside it
        for file in "$out/peer_${model%.jsonl}"_*.jsonl; do [ -e "$file" ] && files+=("$file"); done
    done
    for file in "$out"/kernels_*.jsonl "$out/curves.jsonl"; do [ -e "$file" ] && files+=("$file"); done
    awk -f "$here/table.awk" "${files[@]}" \
        >"$out/table.tmp" 2>/dev/null && mv "$out/table.tmp" "$out/table.txt"
}

note() { # NAME STATUS EXIT SECONDS TEXT
    printf '"stage":"%s","status":"%s","exit":%d,"seconds":%d,"note":"%s"\n' \
        "$1" "$2" "$3" "$4" "$(quote "$5")" >>"$out/stages.log"
    printf '  %-28s %-8s %4d s  %s\n' "$1" "$2" "$4" "$5"
    write_results false
}

skip() { note "$1" skipped 0 0 "$2"; }

stage() { # NAME LIMIT COMMAND...
    local name=$1 limit=$2 left start code status text
    shift 2
    left=$((budget - (SECONDS - began)))
    [ $left -lt 3 ] && { bad=$((bad + 1)); note "$name" cut 0 0 "no time left"; return; }
    [ $limit -gt $left ] && limit=$left
    start=$SECONDS
    # A process group of its own, so that a stage past its limit ends with all it started.
    set -m
    ( "$@" ) >"$out/$name.jsonl" 2>"$out/$name.log" </dev/null &
    local pid=$!
    set +m
    ( sleep "$limit"; kill -TERM -- -$pid 2>/dev/null; sleep 3; kill -KILL -- -$pid 2>/dev/null ) >/dev/null 2>&1 &
    local guard=$!
    wait $pid 2>/dev/null
    code=$?
    pkill -P $guard 2>/dev/null
    kill $guard 2>/dev/null
    wait $guard 2>/dev/null
    status=ok
    text=
    if [ $code -ne 0 ]; then
        bad=$((bad + 1))
        status=failed
        [ $((SECONDS - start)) -ge "$limit" ] && status=timeout
        text=$(grep -v '^--' "$out/$name.log" | tail -n 1 | cut -c1-200)
        [ -n "$text" ] || text=$(tail -n 1 "$out/$name.jsonl" | cut -c1-200)
    fi
    note "$name" $status $code $((SECONDS - start)) "$text"
}

machine() {
    local gpu='' torch=''
    gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null | head -n 1)
    [ -n "$python" ] && torch=$("$python" -c 'import torch; print(torch.__version__)' 2>/dev/null)
    printf '{"machine":"%s","cores":%d,"memory_kib":%d,"gpu":"%s","cublaslt":"%s","torch":"%s","build":"%s"}\n' \
        "$(quote "$(uname -srm)")" "$(nproc)" "$(awk '/MemTotal/ { print $2 }' /proc/meminfo)" "$(quote "$gpu")" \
        "$(quote "${IJEPAD_CUBLASLT:-}")" "$(quote "$torch")" "$(quote "$(worker --version)")"
}

suite() { ours "$here/bin/ops-suite" "$@"; }
golden() { cd "$here" && worker check-golden data/*.safetensors | sed -n 's/"/ /g; s/^\(.*\)$/{"line":"\1"}/p'; return "${PIPESTATUS[0]}"; }

# Memory errors and races in a part of the suite that has every kernel once.
sanitize() { # TOOL TESTS...
    local tool=$1
    shift
    ours compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$out/sanitizer-$tool.txt" \
        "$here/bin/ops-suite" --one-process "$@"
}

# Losses of a short pretraining run on rendered scenes: one line per step.
train() { # DIRECTORY DEVICE PRECISION STEPS [TARGET_PRECISION]
    rm -rf "$out/$1"
    mkdir -p "$out/$1"
    cat >"$out/$1/spec.json" <<SPEC
{"kind": "pretrain", "params": {"dataset": "$out/scenes", "labels": "none", "model": "custom", "width": 128, "depth": 4,
 "heads": 4, "mlp_ratio": 4, "crop": 32, "patch": 4, "pred_width": 64, "pred_depth": 2, "pred_heads": 4, "min_keep": 4,
 "batch": 64, "epochs": 100, "warmup_epochs": 5, "max_steps": $4, "eval_every_epochs": 0, "device": "$2",
 "precision": "$3", "target_precision": "${5:-same}"}}
SPEC
    worker run --spec "$out/$1/spec.json" --directory "$out/$1/run" >"$out/$1/events.jsonl" 2>"$out/$1/errors"
    local code=$?
    cat "$out/$1/errors" >&2
    [ $code = 0 ] || return $code
    grep -o '"stream":"train","step":[0-9]*,"values":{"loss":[0-9.e-]*' "$out/$1/events.jsonl" |
        sed 's/.*"step":\([0-9]*\).*"loss":/\1 /' >"$out/$1/losses"
    rm -rf "$out/$1/run"
}

# The loss curves of two devices: largest and mean relative difference, and that of the last fifth.
compare_losses() { # A B LIMIT: fails if the means of the last fifth differ by more
    paste -d' ' "$out/$1/losses" "$out/$2/losses" | awk -v a="$1" -v b="$2" -v limit="$3" '
        $1 != $3 { exit 1 }
        { d = $2 > $4 ? $2 - $4 : $4 - $2; r = d / $2; sum += r; if (r > most) most = r; x[NR] = $2; y[NR] = $4 }
        END {
            if (NR < 5) exit 1
            for (i = int(NR * 0.8) + 1; i <= NR; i++) { p += x[i]; q += y[i] }
            off = q / p - 1
            printf "{\"curve\":\"%s against %s\",\"steps\":%d,\"mean_difference\":%.3g,\"max_difference\":%.3g,\"last_fifth\":%.4g,\"last_loss\":%.5g}\n", b, a, NR, sum / NR, most, off, y[NR]
            exit off > limit || off < -limit
        }'
}

curves() { # STEPS DEVICE
    rm -rf "$out/scenes"
    worker scenes "$out/scenes" --count 2000 --size 32 || return
    train host-float32 host float32 "$1" || return
    local code=0 precision
    for precision in float32 bfloat16; do
        train "$2-$precision" "$2" "$precision" "$1" || { code=1; continue; }
        # Float32 repeats the same sums in another order; bfloat16 rounds: the curves stay near each other.
        if [ $precision = float32 ]; then compare_losses host-float32 "$2-$precision" 0.01 || code=1
        else compare_losses host-float32 "$2-$precision" 0.03 || code=1; fi
    done
    # A target encoder in float8 against the same run without: what would justify turning it on.
    if train "$2-float8" "$2" bfloat16 "$1" float8; then
        compare_losses "$2-bfloat16" "$2-float8" 0.03 || code=1
    elif grep -q 'no products of float8' "$out/$2-float8/errors"; then
        printf '{"curve":"%s-float8: this GPU has none"}\n' "$2"
    else
        code=1
    fi
    rm -rf "$out/scenes"
    return $code
}

# What of a step the plan sees fit into the GPU's memory: "BATCH ACCUMULATE", nothing if not even one image does.
split_of() { # MODEL BATCH PATCH
    local mib answer batch
    mib=$(nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits 2>/dev/null | head -n 1)
    [ -n "$mib" ] || { echo "$2 1"; return; }
    printf '{"kind":"pretrain","params":{"dataset":"/","labels":"none","model":"%s","batch":%d,"patch":%d,"precision":"bfloat16","device":"cuda","eval_every_epochs":0}}' \
        "$1" "$2" "$3" >"$out/fit.json"
    answer=$(worker plan --spec "$out/fit.json" --images 1000000 --memory $((mib * 1048576)) 2>/dev/null | grep '"fits"')
    case "$answer" in
        *'"fits":false'*)
            batch=$(expr "$answer" : '.*"split_batch":\([0-9]*\)')
            [ "${batch:-0}" -gt 0 ] && echo "$batch $(expr "$answer" : '.*"split_accumulate":\([0-9]*\)')" ;;
        *) echo "$2 1" ;;
    esac
}

# A step of as many images as asked for: whole, or in as many micro-batches as memory wants, which is told.
step_images() { # ASKED BATCH ACCUMULATE OPTIONS...
    local asked=$1 batch=$2 accumulate=$3
    shift 3
    [ "$accumulate" = 1 ] || printf '{"asked_batch":%d,"fits":false,"split_batch":%d,"split_accumulate":%d}\n' \
        "$asked" "$batch" "$accumulate"
    step_bench --batch "$batch" --accumulate "$accumulate" "$@"
}
step_stage() { # SUFFIX LIMIT MODEL BATCH PATCH OPTIONS...: leaves $micro, the images of a micro-batch
    local name=step_$3_$4$1 limit=$2 model=$3 asked=$4 patch=$5 accumulate
    shift 5
    read -r micro accumulate <<<"$(split_of "$model" "$asked" "$patch")"
    if [ -z "$micro" ]; then
        skip "$name" "does not fit this GPU's memory, not even one image at a time"
        return
    fi
    stage "$name" "$limit" step_images "$asked" "$micro" "$accumulate" --model "$model" --patch "$patch" "$@"
}
step_bench() { worker bench step --device "$device" --precision bfloat16 "$@"; }
value() { grep -o "\"$2\":[0-9.]*" "$out/$1.jsonl" 2>/dev/null | head -n 1 | sed 's/.*://'; }
peer() { # MODEL BATCH MICRO eager|compile: with the masks that our run had
    local context targets
    context=$(value "step_$1_$2" mean_context_patches)
    targets=$(value "step_$1_$2" mean_target_patches)
    [ -n "$context" ] || context=50
    [ -n "$targets" ] || targets=34
    "$python" "$here/peer_step.py" bench --model "$1" --batch "$3" --context "$(printf %.0f "$context")" \
        --targets "$(printf %.0f "$targets")" $([ "$4" = compile ] && echo --compile) "${@:5}"
}

# ---- What is here -----------------------------------------------------------------------------------

: >"$out/stages.log"
python=$(find_python)
library=$(find_cublaslt)
[ -n "$library" ] && export IJEPAD_CUBLASLT=$library
nccl=$(find_nccl || true)
[ -n "$nccl" ] && export IJEPAD_NCCL=$nccl
device=cuda
why=
if [ $mode = gpu ] && ! why=$(worker bench ops --device cuda --model vit_tiny --batch 2 --seconds 0.001 2>&1 >/dev/null); then
    no_gpu=1
    mode=no-gpu
    why=$(printf '%s' "$why" | tail -n 1)
    echo "No usable GPU here: ${why#ijepad-worker: }"
    echo "Nothing about CUDA is tested; the host's path of each stage runs on tiny sizes."
fi
[ $mode = gpu ] || device=host
echo "ijepad GPU bundle, mode $mode, results in $out"
stage machine 60 machine
[ $no_gpu = 1 ] && note gpu absent 0 0 "${why#ijepad-worker: }"

# ---- The stages -------------------------------------------------------------------------------------

if [ $mode = gpu ]; then
    export IJEPAD_DEVICE=cuda IJEPAD_CUDA_TUNE=$out/algorithms
    IJEPAD_TEST_CUDA=1 stage ops_suite 90 suite --jobs 4
    stage check_device 30 worker check-device
    stage golden 40 golden
    float8=0
    worker bench step --device cuda --precision bfloat16 --target-precision float8 --model vit_tiny --batch 2 --crop 32 \
        --patch 4 --warmup 0 --steps 1 >/dev/null 2>"$out/float8.log" && float8=1
    [ $float8 = 1 ] || skip float8 "$(tail -n 1 "$out/float8.log")"
    stage kernels_huge 30 worker bench ops --device cuda --precision bfloat16 --model vit_huge --patch 14 --batch 128
    for run in vit_huge:128:14 vit_small:512:16 vit_base:256:16 vit_large:128:16; do
        IFS=: read -r model batch patch <<<"$run"
        step_stage "" 30 "$model" "$batch" "$patch" --warmup 8 --steps 16
        [ $float8 = 1 ] && step_stage _float8 25 "$model" "$batch" "$patch" --target-precision float8 --warmup 6 --steps 12
        step_stage _tanh 20 "$model" "$batch" "$patch" --gelu-tanh --warmup 4 --steps 8
        if [ -n "$python" ] && [ -n "$micro" ]; then
            stage "peer_${model}_${batch}_eager" 30 peer "$model" "$batch" "$micro" eager --limit 20
            stage "peer_${model}_${batch}_compile" 60 peer "$model" "$batch" "$micro" compile --limit 50
        fi
    done
    [ -n "$python" ] || skip peer "no Python with PyTorch was found; set PYTHON"
    stage kernels_small 20 worker bench ops --device cuda --precision bfloat16 --model vit_small --batch 512
    IJEPAD_DEVICE=cuda stage curves 80 curves 200 cuda
    if command -v compute-sanitizer >/dev/null; then
        IJEPAD_TEST_CUDA=1 stage memcheck 60 sanitize memcheck ops_attention/forward ops_attention/backward ops_norm ops_train ops_tokens ops_float8 ops_lanes/content
        IJEPAD_TEST_CUDA=1 stage racecheck 40 sanitize racecheck ops_attention/nan ops_norm/ ops_train
    else
        skip memcheck "compute-sanitizer is not in PATH"
    fi
    # The rest of 128 to 512 images; what the GPU has no room for is split.
    for run in vit_base:128:16 vit_small:128:16 vit_huge:256:14 vit_base:512:16 vit_large:256:16 vit_huge:512:14 \
        vit_large:512:16 vit_small:256:16; do
        IFS=: read -r model batch patch <<<"$run"
        step_stage "" 20 "$model" "$batch" "$patch" --warmup 3 --steps 8
    done
else
    stage ops_suite 240 suite --jobs 2 # a busy machine takes its time
    IJEPAD_DEVICE=host stage golden 60 golden
    stage kernels_tiny 60 worker bench ops --device host --model vit_tiny --crop 64 --patch 8 --batch 2 --seconds 0.002
    stage step_vit_tiny_2 60 step_bench --model vit_tiny --batch 2 --crop 32 --patch 4 --warmup 1 --steps 2
    stage step_vit_tiny_2_float8 60 step_bench --model vit_tiny --batch 2 --crop 32 --patch 4 --warmup 1 --steps 2 \
        --target-precision float8
    if [ -n "$python" ]; then
        stage peer_check 90 "$python" "$here/peer_step.py" check --device cpu "$here"/data/*.safetensors
        stage peer_vit_tiny_2_eager 120 peer vit_tiny 2 2 eager --device cpu --crop 32 --patch 4 --warmup 1 --steps 1
    else
        skip peer "no Python with PyTorch was found; set PYTHON"
    fi
    stage curves 90 curves 20 host
    skip memcheck "needs a GPU"
fi

write_results true
cat "$out/table.txt"
echo "Written: $out/results.json and $out/table.txt; $bad stage(s) did not pass; $((SECONDS - began)) s."
[ $no_gpu = 1 ] && exit 2
[ $bad = 0 ]
