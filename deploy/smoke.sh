#!/usr/bin/env bash
# The tour's requests against a running stack, through its proxy: smoke.sh URL
set -euo pipefail
url=${1:?where the proxy is}
steps=$(sed '/^# The events that a client/,$d' "$(dirname "$0")/../tools/tour.sh")
ACCOUNTS=$url ORDERS=$url bash -euc "$steps"
printf '\n%s answers\n' "$url"
