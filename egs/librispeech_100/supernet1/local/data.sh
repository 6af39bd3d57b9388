#!/usr/bin/env bash
# As librispeech, with train-clean-100 only; any option of that script can be added.
set -euo pipefail
exec ../../librispeech/supernet1/local/data.sh \
    --train_set train_clean_100 --train_subsets "train-clean-100" "$@"
