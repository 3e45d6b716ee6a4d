#!/usr/bin/env bash
# On the GPU machine: bash tests/gpu/kit/join.sh PARTS SITE, once all parts are in PARTS.
# Then: source tests/gpu/kit/environment.sh SITE
set -euo pipefail
mkdir -p "$2"
cat "$1"/part-* | xz -dT0 | tar -C "$2" -xf -
du -sh "$2"
