#!/bin/bash
# A first run, end to end, on whatever machine this is: demo.sh BUILD
#
# Renders scenes, starts the daemon, submits a pretraining run with curl, kills the daemon on the
# way (the run goes on by itself), evaluates, and prints a table. Everything lives in BUILD/demo.
# With DEMO_EXIT=1, or without a terminal, the daemon is stopped at the end.
set -euo pipefail

build=$(realpath "$1")
root=${DEMO_DIR:-$build/demo}
scenes=$root/scenes
state=$root/state
port=${DEMO_PORT:-8765}
count=${DEMO_SCENES:-8000}
U=http://127.0.0.1:$port
daemon=

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '  $ %s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }
api() { curl -sS -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "$@"; }

start_daemon() {
    "$build/ijepad" --config "$root/ijepad.conf" >>"$root/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 200); do
        curl -fsS -o /dev/null "$U/readyz" 2>/dev/null && return
        kill -0 "$daemon" 2>/dev/null || { tail -n 5 "$root/daemon.log" >&2; fail "the daemon ended"; }
        sleep 0.1
    done
    fail "the daemon is not ready after 20 s; see $root/daemon.log"
}

stop_daemon() {
    [ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true
    daemon=
}

submit() { # JSON -> run id
    local answer
    answer=$(api -X POST "$U/v1/runs" -d "$1")
    jq -er .id <<<"$answer" || fail "submission refused: $answer"
}

run_field() { api "$U/v1/runs/$1" | jq -r "$2"; }

progress_line() { # RUN
    api "$U/v1/runs/$1" | jq -r '
        def n(f): if . == null then "-" else f end;
        "  \(.id) \(.state)  step \(.step // 0)/\(.steps // 0)" +
        "  \(.images_per_s | n(round)) images/s  ETA \(.eta_s | n(round)) s"'
}

wait_for() { # RUN: shows progress until it ends
    local state last=0
    while :; do
        state=$(run_field "$1" .state)
        case "$state" in succeeded | failed | canceled | quarantined) break ;; esac
        if [ $((SECONDS - last)) -ge 5 ]; then
            progress_line "$1"
            last=$SECONDS
        fi
        sleep 0.5
    done
    progress_line "$1"
    [ "$state" = succeeded ] || fail "$1 $state: $(run_field "$1" .reason_text)"
}

trap 'stop_daemon' EXIT
begin=$SECONDS
mkdir -p "$root"
rm -rf "$state"

say "1. Images: $count rendered scenes with known shape, colour, count and distance"
if [ ! -f "$scenes/.complete-$count" ]; then
    rm -rf "$scenes"
    show "ijepad-worker scenes $scenes --count $count --size 64"
    "$build/ijepad-worker" scenes "$scenes" --count "$count" --size 64
    touch "$scenes/.complete-$count"
fi

say "2. The daemon"
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    fail "something listens on port $port already; choose another with DEMO_PORT"
fi
cat >"$root/ijepad.conf" <<EOF
state_dir = $state
listen = 127.0.0.1:$port
EOF
show "ijepad --config $root/ijepad.conf"
start_daemon
TOKEN=$(cat "$state/admin.token")
show "TOKEN=\$(cat $state/admin.token)"
curl -sS "$U/healthz"; echo

{ read -r device; read -r why; } < <("$(dirname "$0")/demo_device.sh" "$build")
echo "  $why"

say "3. Submit a pretraining run"
body=$(jq -nc --arg d "$scenes" --arg v "$device" \
    '{kind:"pretrain",name:"scenes-demo",params:{preset:"scenes_64",dataset:$d,device:$v}}')
show "curl -H \"Authorization: Bearer \$TOKEN\" -H 'Content-Type: application/json' -X POST $U/v1/runs -d '$body'"
run=$(submit "$body")
echo "  submitted as $run"

say "4. Progress: curl $U/v1/runs/$run"
killed=
while :; do
    state_now=$(run_field "$run" .state)
    case "$state_now" in succeeded | failed | canceled | quarantined) break ;; esac
    step=$(run_field "$run" '.step // 0') steps=$(run_field "$run" '.steps // 0')
    progress_line "$run"
    if [ -z "$killed" ] && [ "$steps" -gt 0 ] && [ $((step * 3)) -gt "$steps" ]; then
        say "   kill -9 of the daemon, on purpose; the run resumes from its last checkpoint"
        kill -9 "$daemon" && wait "$daemon" 2>/dev/null || true
        start_daemon
        killed=1
    fi
    sleep 5
done
[ "$state_now" = succeeded ] || fail "$run $state_now: $(run_field "$run" .reason_text)"
progress_line "$run"
echo "  attempts: $(api "$U/v1/runs/$run/attempts" | jq -c '[.items[] | {n, cause, from_step, last_step}]')"

say "5. Evaluate: linear probe and k-NN against random initialisation"
declare -A job
for label in shape color count distance; do
    for kind in linear_probe knn; do
        body=$(jq -nc --arg d "$scenes" --arg k "$kind" --arg l "$label" --arg r "$run" --arg v "$device" \
            '{kind:$k,name:"\($k)-\($l)",params:{preset:"scenes_64_eval",dataset:$d,labels:$l,checkpoint:$r,device:$v}}')
        [ "$label-$kind" = shape-linear_probe ] && show "curl ... -X POST $U/v1/runs -d '$body'"
        job[$label-$kind]=$(submit "$body")
    done
done
for label in shape color count distance; do
    for kind in linear_probe knn; do wait_for "${job[$label-$kind]}"; done
done

say "6. Result (top-1 on held-out scenes, %)"
printf '  %-10s %-14s %8s %11s %8s\n' label protocol random pretrained gain
not_gained=()
for label in shape color count distance; do
    for kind in linear_probe knn; do
        read -r random trained < <(api "$U/v1/runs/${job[$label-$kind]}/results" |
            jq -r '.items[0].result | "\(.random.top1 * 100) \(.trained.top1 * 100)"')
        printf '  %-10s %-14s %8.1f %11.1f %+8.1f\n' "$label" "$kind" "$random" "$trained" \
            "$(jq -n "$trained - $random")"
        jq -en "$trained <= $random" >/dev/null && not_gained+=("$label/$kind")
    done
done
if [ ${#not_gained[@]} -gt 0 ]; then
    echo "  No gain in this short run: ${not_gained[*]}."
    echo "  docs/results/ records a longer one, on real images."
fi
echo "  $((SECONDS - begin)) s in all."

if [ "${DEMO_EXIT:-}" = 1 ] || [ ! -t 1 ]; then
    stop_daemon
    echo "The daemon is stopped; $root can be removed."
else
    trap - EXIT
    cat <<EOF

The daemon is still up:
  look:  $U/   (sign in with the token in $state/admin.token)
  stop:  kill $daemon
EOF
fi
