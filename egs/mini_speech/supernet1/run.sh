#!/usr/bin/env bash
# Small synthetic corpus, made offline: spelled letters, digits and short commands in several voices.
# Any option of supernet.sh can be added: ./run.sh --stage 11 --force true
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./supernet.sh \
    --lang en \
    --train_set train \
    --valid_set dev \
    --test_sets "test" \
    --token_type char \
    --use_ssl true \
    --ssl_config conf/train_ssl.yaml \
    --asr_config conf/train.yaml \
    --inference_config conf/decode.yaml \
    --check_streaming true \
    --check_streaming_args "--max_utts 10" \
    "$@"
