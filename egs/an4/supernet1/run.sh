#!/usr/bin/env bash
# AN4, with ESPnet's split: train_nodev (848 utterances), train_dev (100), test (130).
# AN4=/path/to/an4_sphere.tar.gz (or the folder that holds an4/) ./run.sh; without AN4 it is downloaded.
# A distribution without the test part is decoded on train_dev only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./db.sh

has_test() { # the original distribution does; a local copy may not
    local list=an4/etc/an4_test.transcription
    case ${AN4} in
        downloads) [ ! -f data/.done ] || [ -d data/test ] ;; # a later stage, AN4 not said again
        *.tar.gz | *.tgz) tar -tzf "${AN4}" | grep -c "${list}\$" >/dev/null ;;
        *) [ -f "${AN4}/${list}" ] || [ -f "${AN4}/${list#an4/}" ] ;;
    esac
}
test=false
test_sets="train_dev"
if has_test; then
    test=true
    test_sets="train_dev test"
fi

./supernet.sh \
    --lang en \
    --local_data_opts "--test ${test}" \
    --train_set train_nodev \
    --valid_set train_dev \
    --test_sets "${test_sets}" \
    --speed_perturb_factors "0.85 0.9 0.95 1.0 1.05 1.1 1.15 1.2" \
    --token_type char \
    --asr_config conf/train.yaml \
    --inference_config conf/decode.yaml \
    "$@"
