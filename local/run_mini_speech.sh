#!/usr/bin/env bash
# Set up everything and run the main job on the synthetic corpus; options go to supernet.sh.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"${root}/local/setup.sh"
exec "${root}/egs/mini_speech/supernet1/run.sh" "$@"
