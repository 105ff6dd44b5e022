#!/usr/bin/env bash
# Run the tour against a running stack, through its proxy: smoke.sh URL
set -euo pipefail
url=${1:?URL of the proxy}
root=$(dirname "$0")/..
for name in $(grep -oE '"\$[A-Z0-9_]+/' "$root/tools/tour.sh" | tr -d '"$/' | sed 's/_ADMIN$//' | tr '[:upper:]' '[:lower:]' | sort -u); do
  if [ ! -f "$root/services/$name/pyproject.toml" ]; then
    echo "the tour uses $name, which this workspace does not have: replace the steps in tools/tour.sh" >&2
    exit 1
  fi
done
# Stop before the event stream: the later steps need an admin port and log files.
steps=$(sed '/^# Replay the events/,$d' "$root/tools/tour.sh")
ACCOUNTS=$url ORDERS=$url bash -euc "$steps"
printf '\nsmoke test of %s passed\n' "$url"
