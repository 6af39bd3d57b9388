#!/usr/bin/env bash
# LibriSpeech, 100 hours (train-clean-100). LIBRISPEECH=/path (the folder that holds LibriSpeech/)
# ./run.sh --ngpu 1; without LIBRISPEECH the parts needed (8 GB) are downloaded.
# An excerpt, with 20 of its readers held out as dev:
#   LIBRISPEECH=/path ./run.sh --local_data_opts "--partial true --held_out_speakers 20" \
#       --test_sets dev --nbpe 100
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./supernet.sh \
    --lang en \
    --train_set train_clean_100 \
    --valid_set dev \
    --test_sets "test_clean test_other dev_clean dev_other" \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --max_wav_duration 30 \
    --token_type bpe \
    --nbpe 500 \
    --asr_config conf/train.yaml \
    --inference_config conf/decode.yaml \
    "$@"
