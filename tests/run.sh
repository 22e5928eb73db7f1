#!/bin/bash
# Runs every test program given, then the end-to-end tests, and counts: run.sh BUILD PROGRAM...
# Ends with one line, "N passed, N failed, N skipped"; fails if one failed or none ran.
set -uo pipefail

build=$1
shift
results=$build/test-results
rm -rf "$results"
mkdir -p "$results"
passed=0 failed=0 skipped=0
export OMP_WAIT_POLICY=passive # waiting threads sleep: tests share the cores

count_tap() { # FILE
    passed=$((passed + $(grep -cE '^ok ' "$1") - $(grep -cE '^ok .*# SKIP' "$1")))
    failed=$((failed + $(grep -cE '^not ok ' "$1")))
    skipped=$((skipped + $(grep -cE '^ok .*# SKIP' "$1")))
}

for program in "$@"; do
    name=$(basename "$program")
    tap=$results/$name.tap
    start=$SECONDS
    "$program" --tap="$tap" --jobs 2 --timeout 300 >"$results/$name.log" 2>&1
    code=$?
    [ -f "$tap" ] && count_tap "$tap"
    if [ $code -ne 0 ]; then
        grep -qE '^not ok ' "$tap" 2>/dev/null || failed=$((failed + 1))
        echo "FAIL  $name"
        tail -n 60 "$results/$name.log"
    else
        printf 'ok    %s (%d s)\n' "$name" $((SECONDS - start))
    fi
    grep -hE '# SKIP' "$tap" 2>/dev/null | sed 's/^/skip  /'
done

if compgen -G "tests/*/test_*.py" >/dev/null; then
    IJEPAD_BUILD=$(realpath "$build") PYTHONPATH=tests/e2e ASAN_OPTIONS=${PYTEST_ASAN_OPTIONS:-} /usr/bin/python3 -m pytest -q -ra -p no:cacheprovider \
        --junitxml "$results/e2e.xml" tests/*/ || true
    read -r tests errors failures skips < <(/usr/bin/python3 - "$results/e2e.xml" <<'P'
import sys
import xml.etree.ElementTree as ET
try:
    s = ET.parse(sys.argv[1]).getroot().find("testsuite")
    print(s.get("tests"), s.get("errors"), s.get("failures"), s.get("skipped"))
except (OSError, ET.ParseError):
    print(1, 1, 0, 0)
P
    )
    passed=$((passed + tests - errors - failures - skips))
    failed=$((failed + errors + failures))
    skipped=$((skipped + skips))
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
