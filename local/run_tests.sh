#!/usr/bin/env bash
# Set up everything, then run the static checks and all tests. Options go to pytest:
# ./local/run_tests.sh tests/recipes -k options. SUPERNET_TEST_JOBS: test processes (default 2).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "${root}"
./local/setup.sh
# The packages of this environment are tested, not those of another checkout.
unset PYTHONPATH PYTHONHOME
PATH=${SUPERNET_VENV:-${root}/.venv}/bin:${PATH}
# One thread in each test process: the machine is shared by SUPERNET_TEST_JOBS of them.
export PATH OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
./local/lint.sh
exec python3 -m pytest -q -n "${SUPERNET_TEST_JOBS:-2}" --dist loadfile "$@"
