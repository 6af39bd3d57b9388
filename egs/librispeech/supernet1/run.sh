#!/usr/bin/env bash
# LibriSpeech, 960 hours. LIBRISPEECH=/path (the folder that holds LibriSpeech/) ./run.sh --ngpu 4;
# without LIBRISPEECH the corpus (60 GB) is downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./supernet.sh \
    --lang en \
    --train_set train_960 \
    --valid_set dev \
    --test_sets "test_clean test_other dev_clean dev_other" \
    --speed_perturb_factors "0.9 1.0 1.1" \
    --max_wav_duration 30 \
    --token_type bpe \
    --nbpe 500 \
    --asr_config conf/train.yaml \
    --inference_config conf/decode.yaml \
    "$@"
