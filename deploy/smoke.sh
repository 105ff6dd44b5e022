#!/usr/bin/env bash
# Run the tour against a running stack, through its proxy: smoke.sh URL
set -euo pipefail
url=${1:?URL of the proxy}
# Stop before the event stream: the later steps need an admin port and log files.
steps=$(sed '/^# Replay the events/,$d' "$(dirname "$0")/../tools/tour.sh")
ACCOUNTS=$url ORDERS=$url bash -euc "$steps"
printf '\nsmoke test of %s passed\n' "$url"
