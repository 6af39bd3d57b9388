#!/usr/bin/env bash
# AN4: 12 blocks, and 6, 4 and 2 made from them. AN4=/path/to/an4_sphere.tar.gz ./run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./light.sh \
    --sizes "6 4 2" \
    "$@"
