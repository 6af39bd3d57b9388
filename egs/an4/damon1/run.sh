#!/usr/bin/env bash
# SALAD on AN4, from the recogniser of ../supernet1; any option of damon.sh can be added:
# AN4=/path/to/an4 ./run.sh --tokens "salad downsample random:keep_ratio=0.5 none"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./damon.sh \
    --supernet_dir ../supernet1 \
    --teacher_exp exp/asr_train_raw_en_char_sp \
    --train_set train_nodev_sp \
    --valid_set train_dev \
    "$@"
