#!/bin/bash
# What the demo runs on: demo_device.sh BUILD. Two lines: the device (cuda or host), and why.
#
# A GPU is used where it computes what the host does; DEMO_DEVICE settles it by hand.
set -euo pipefail

if [ -n "${DEMO_DEVICE:-}" ]; then
    echo "$DEMO_DEVICE"
    echo "As DEMO_DEVICE says."
elif checked=$("$1/ijepad-worker" check-device 2>&1); then
    echo cuda
    echo "This machine's GPU computes what the host does: it is used."
else
    echo host
    echo "On the host: $(tail -n 1 <<<"$checked" | sed 's/^ijepad-worker: //')"
fi
