#!/usr/bin/env bash
# data/{train,dev,test}: speech synthesised with espeak-ng, fixed seed, other voices in test.
set -euo pipefail
. ./scripts/common.sh

# options {
num_train=400 # utterances
num_dev=50
num_test=50
seed=0
# } options
parse_options "${BASH_SOURCE[0]}" "$@"
. ./path.sh

once data/.done "" "data/train/wav.scp data/dev/wav.scp data/test/wav.scp downloads/mini_speech" \
    "${python:-python3}" -m espnet2_supernet.bin.data mini_speech --out data \
    --audio_dir downloads/mini_speech --seed "${seed}" --num_train "${num_train}" \
    --num_dev "${num_dev}" --num_test "${num_test}" --nj "${nj:-$(nproc)}"
