#!/usr/bin/env bash
# Make the virtual environment: ./local/setup.sh. Run it again at any time; it goes on where it stopped.
#   PYTHON=python3.11        the Python to use (3.10 to 3.12)
#   SUPERNET_VENV=/path      an environment to use instead of .venv (packages it has are kept)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${SUPERNET_VENV:-${root}/.venv}
stamp=${venv}/.supernet-setup
log=${venv}/setup.log

# Packages of another installation must not pass for installed ones; settings of the user's pip that
# cannot work in a virtual environment.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

fail() {
    echo "error: $*" >&2
    exit 1
}

usable_python() { # a Python 3.10-3.12 on PATH, or PYTHON if that is set
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if "${candidate}" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            command -v "${candidate}"
            return
        fi
    done
    fail "Python 3.10, 3.11 or 3.12 is needed (tried: ${PYTHON:-python3 python3.12 python3.11 python3.10});" \
        "set PYTHON=/path/to/python3.11"
}

check_compiler() { # ESPnet requires pyworld, which has no wheels
    command -v "${CXX:-g++}" >/dev/null || command -v c++ >/dev/null || command -v clang++ >/dev/null ||
        fail "a C++ compiler is needed to install ESPnet's pyworld (Debian: apt-get install g++ python3-dev)"
}

check_headers() {
    "${venv}/bin/python3" -c 'import os, sysconfig
raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        fail "Python's headers are needed to install ESPnet's pyworld (Debian: apt-get install python3-dev)"
}

one_at_a_time() { # the lock is inherited by pip, which may outlive a killed run of this script
    mkdir -p "${venv}"
    if command -v flock >/dev/null; then
        exec 9>"${venv}/.lock"
        flock -n 9 || { echo "Waiting for another set-up of ${venv}" && flock 9; }
    fi
}

make_venv() {
    local python clear=()
    if [ -x "${venv}/bin/python3" ]; then
        # Environments of other tools, such as uv, come without pip.
        if "${venv}/bin/python3" -m pip --version >/dev/null 2>&1 ||
            "${venv}/bin/python3" -m ensurepip >/dev/null 2>&1; then
            return
        fi
    fi
    # What is left of an earlier try or of another Python would be in the way.
    python=$(usable_python)
    [ ! -f "${venv}/pyvenv.cfg" ] || clear=(--clear)
    echo "Making ${venv} with $("${python}" --version)"
    "${python}" -m venv "${clear[@]}" "${venv}" ||
        fail "no virtual environment could be made (Debian: apt-get install python3-venv)"
}

renew_old_pip() { # one from before 21.3 cannot install this repository in place
    if ! "${venv}/bin/python3" -c 'import pip
raise SystemExit(tuple(map(int, pip.__version__.split(".")[:2])) < (21, 3))'; then
        "${venv}/bin/python3" -m pip install --no-input --quiet --upgrade pip || fail "pip could not be renewed"
    fi
}

install_packages() { # pip talks to the log; here one line every 15 seconds
    local pid status=0 shown=0 last
    echo "Installing the packages (5 GB on disk; some minutes; log: ${log})"
    "${venv}/bin/python3" -m pip install --no-input --progress-bar off -e "${root}[dev]" >"${log}" 2>&1 </dev/null &
    pid=$!
    # shellcheck disable=SC2064  # expand now
    trap "kill ${pid} 2>/dev/null; exit 130" INT TERM
    while kill -0 "${pid}" 2>/dev/null; do
        if [ $((SECONDS - shown)) -ge 15 ]; then
            last=$(grep -E '^ *(Collecting|Downloading|Building|Installing)' "${log}" | tail -n 1 || true)
            printf '  %4d s  %.70s\n' "${SECONDS}" "${last## }"
            shown=${SECONDS}
        fi
        sleep 1
    done
    wait "${pid}" || status=$?
    trap - INT TERM
    if [ "${status}" -ne 0 ]; then
        tail -n 20 "${log}" >&2
        fail "pip could not install the packages; see ${log}, then run this command again"
    fi
}

tell_sclite() {
    if ! command -v sclite >/dev/null && [ ! -x /usr/lib/sctk/bin/sclite ] &&
        [ ! -x "${ESPNET_ROOT:-/nonexistent}/tools/sctk/bin/sclite" ]; then
        echo "Note: no sclite; a Python scorer takes its place. To have it: Debian package sctk, or" \
            "ESPNET_ROOT=<ESPnet checkout with tools/sctk> (PyPI's 'sctk' is another program)."
    fi
}

check_import() { # an installation that was killed half-way may pass for a whole one
    echo "Checking the packages"
    "${venv}/bin/python3" -c 'import espnet2, numba, sentencepiece, soundfile, torch, torchaudio' >>"${log}" 2>&1 || {
        tail -n 5 "${log}" >&2
        fail "the packages do not load; delete ${venv} and run this command again"
    }
}

up_to_date() { # WANT
    [ -f "${stamp}" ] && [ "$(cat "${stamp}")" = "$1" ] && [ -x "${venv}/bin/python3" ]
}

main() {
    local want
    [[ ${venv} == /* ]] || fail "SUPERNET_VENV must be an absolute path, not '${venv}'"
    want=$(cat "${root}/setup.cfg" "${root}/pyproject.toml" <(echo "${root}") | cksum)
    [ -x "${venv}/bin/python3" ] || usable_python >/dev/null
    up_to_date "${want}" || one_at_a_time
    if up_to_date "${want}"; then
        echo "Environment is up to date: ${venv}"
        return
    fi
    make_venv
    if ! "${venv}/bin/python3" -c 'import pyworld' 2>/dev/null; then
        check_compiler
        check_headers
    fi
    renew_old_pip
    install_packages
    check_import
    echo "${want}" >"${stamp}"
    echo "Environment ready in ${SECONDS} s: ${venv}"
}

main
tell_sclite
