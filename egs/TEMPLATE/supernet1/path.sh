# shellcheck shell=bash
# Environment of every stage: the virtual environment, this repository, quiet and reproducible tools.
# SUPERNET_VENV: another virtual environment to use (default: .venv at the root of the repository).
MAIN_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../.." && pwd)
if [ -n "${SUPERNET_VENV:-}" ] && [ ! -x "${SUPERNET_VENV}/bin/python3" ]; then
    echo "error: SUPERNET_VENV=${SUPERNET_VENV} is no virtual environment (an absolute path is needed)" >&2
    exit 1
fi
if [ -x "${SUPERNET_VENV:-${MAIN_ROOT}/.venv}/bin/python3" ]; then
    PATH=${SUPERNET_VENV:-${MAIN_ROOT}/.venv}/bin:${PATH}
fi
PYTHONPATH=${MAIN_ROOT}${PYTHONPATH:+:${PYTHONPATH}}
# One sorting order everywhere; logs that appear while a job runs; UTF-8 transcripts.
LC_ALL=C.UTF-8
PYTHONIOENCODING=UTF-8
PYTHONUNBUFFERED=1
# glibc keeps freed memory for the next tensor; to hand it back and fault it in again costs 4-8 % of
# a training step on a CPU.
MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-33554432}
MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-1073741824}
export MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_
export MAIN_ROOT PATH PYTHONPATH LC_ALL PYTHONIOENCODING PYTHONUNBUFFERED

if [ -f local/path.sh ]; then
    # shellcheck source=/dev/null
    . local/path.sh
fi
