#!/usr/bin/env bash
# All static checks, in the environment on PATH: ruff, mypy, import-linter, shellcheck.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "ruff check"
ruff check --quiet .
echo "ruff format --check"
if ! ruff format --check --quiet . >/dev/null; then
    echo "error: run 'ruff format .'; it would change:" >&2
    ruff format --check --output-format concise . >&2 || exit 1
fi
echo "mypy"
mypy --no-error-summary
echo "import-linter"
lint-imports --no-cache >/dev/null || lint-imports --no-cache
echo "shellcheck"
# Links are checked once, where they point to.
find . -name .venv -prune -o -name downloads -prune -o -type f \
    \( -name '*.sh' -o -path './.ci/run' \) -print0 | xargs -0 shellcheck -x
