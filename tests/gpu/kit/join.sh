#!/usr/bin/env bash
# On the GPU machine: bash tests/gpu/kit/join.sh PARTS SITE, once all parts and their manifest are in PARTS.
# Then: source tests/gpu/kit/environment.sh SITE
set -euo pipefail
die() {
  printf 'join.sh: %s\n' "$1" >&2
  exit 1
}
[ $# = 2 ] || die "needs two folders, that of the parts and the one to make: bash tests/gpu/kit/join.sh .gpu /tmp/site"
[ -f "$1/manifest" ] || die "$1/manifest is missing: carry all files of pack's folder here"
{ read -r count _ && mapfile -t lines; } <"$1/manifest"
[ "$count" = "${#lines[@]}" ] || die "$1/manifest is damaged: it speaks of $count parts and lists ${#lines[@]}; carry it here again"
parts=()
for line in "${lines[@]}"; do
  read -r hash name <<<"$line"
  [ -f "$1/$name" ] || die "$1/$name is missing, one of $count parts: carry it here"
  [ "$(sha256sum <"$1/$name" | cut -d' ' -f1)" = "$hash" ] || die "$1/$name is damaged: carry it here again"
  parts+=("$1/$name")
done
mkdir -p "$2"
# The owners of the machine that packed mean nothing here.
if command -v xz >/dev/null 2>&1; then
  cat "${parts[@]}" | xz -dT0 | tar --no-same-owner -C "$2" -xf -
else
  cat "${parts[@]}" | "$(command -v python3 || command -v python)" -c '
import lzma, sys, tarfile
with lzma.open(sys.stdin.buffer) as file, tarfile.open(fileobj=file, mode="r|") as archive:
    archive.extractall(sys.argv[1], filter="data")
' "$2"
fi
du -sh "$2"
