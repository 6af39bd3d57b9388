#!/usr/bin/env bash
# LibriSpeech, 960 hours: 12 blocks, and 6, 4 and 2 made from them (EncRL, arXiv 2505.16991).
# LIBRISPEECH=/path ./run.sh --recipe_args "--ngpu 4"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./light.sh \
    --corpus_args "--nbpe 256" \
    --sizes "6 4 2" \
    "$@"
