#!/bin/bash
# Installs the Debian packages that are missing: install-packages.sh build|test
# Says what is installed and why; needs root or sudo only when something is missing.
set -euo pipefail

build=(
    "gcc make pkg-config git|to compile"
    "libsystemd-dev|event loop, readiness and watchdog"
    "libmicrohttpd-dev|HTTP server"
    "libjansson-dev|JSON"
    "libsqlite3-dev|state and metrics"
    "libinih-dev|configuration file"
    "zlib1g-dev|answers of the API are sent compressed"
    "libcurl4-openssl-dev|the helper that sends webhooks"
    "nettle-dev|SHA-256"
    "libdnnl-dev|matrix products on the CPU"
    "libturbojpeg0-dev libjpeg62-turbo-dev|JPEG decoding"
    "libspng-dev|PNG decoding"
    "libseccomp-dev|sandbox of the decoder"
    "python3|embeds the dashboard's files"
    "libjs-dygraphs esbuild|charts of the dashboard; joins its modules for embedding"
    "curl jq|the demo talks to the daemon with them"
)
test=(
    "libcriterion-dev|unit tests"
    "g++|compiles the CUDA kernels for the host, to test them"
    "python3-pytest python3-requests python3-numpy python3-pil|end-to-end tests"
    "chromium chromium-driver python3-selenium|the dashboard in a real browser"
    "universal-ctags|house rules: length of functions"
    "cppcheck|static analysis, beside the compiler's own"
    "procps e2fsprogs xfsprogs mount strace|tests that kill processes, cut power and fail system calls"
)

case "${1:-build}" in
build) rows=("${build[@]}") ;;
test) rows=("${build[@]}" "${test[@]}") ;;
*) echo "usage: $0 build|test" >&2; exit 2 ;;
esac

# Ubuntu names the JPEG header package differently.
alternative() {
    case "$1" in
    libjpeg62-turbo-dev) echo libjpeg-turbo8-dev ;;
    *) echo "$1" ;;
    esac
}
installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing=()
for row in "${rows[@]}"; do
    for package in ${row%%|*}; do
        if ! installed "$package" && ! installed "$(alternative "$package")"; then
            echo "missing: $package (${row#*|})"
            missing+=("$package")
        fi
    done
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu: please install the packages above yourself." >&2
    exit 1
fi
run=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Need root or sudo to install: ${missing[*]}" >&2; exit 1; }
    run=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -q >/dev/null
for i in "${!missing[@]}"; do
    apt-cache show "${missing[$i]}" >/dev/null 2>&1 || missing[$i]=$(alternative "${missing[$i]}")
done
"${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
