#!/usr/bin/env bash
# data/<train_set>, data/dev (all development subsets) and data/<subset> for each development and
# test subset, from any folder in LibriSpeech layout (LIBRISPEECH, see db.sh). Names of subsets may
# be joined by commas: --train_subsets mine-1,mine-2
set -euo pipefail
. ./scripts/common.sh

# options {
train_set=train_960 # name of the training set
train_subsets="train-clean-100 train-clean-360 train-other-500"
dev_subsets="dev-clean dev-other"
test_subsets="test-clean test-other"
partial=false       # the corpus is an excerpt: do not compare sizes with those of LibriSpeech
held_out_speakers=0 # make data/dev of that many training readers instead, and no other sets
held_out_seed=0
# } options
parse_options "${BASH_SOURCE[0]}" "$@"
. ./path.sh
. ./db.sh

data() { "${python:-python3}" -m espnet2_supernet.bin.data "$@"; }
corpus=${LIBRISPEECH}
train_subsets=${train_subsets//,/ }
dev_subsets=${dev_subsets//,/ }
test_subsets=${test_subsets//,/ }
if [ "${held_out_speakers}" -gt 0 ]; then
    dev_subsets=""
    test_subsets=""
fi
if [ "${corpus}" = downloads ]; then
    # shellcheck disable=SC2086
    data download --corpus librispeech --subset ${train_subsets} ${dev_subsets} ${test_subsets} \
        --out downloads
fi
[ -d "${corpus}" ] || die 1 "LIBRISPEECH=${corpus} does not exist; LIBRISPEECH=downloads fetches it"

prepare() { # SET SUBSETS OPTIONS...
    local out=data/$1 subsets
    read -ra subsets <<<"$2"
    shift 2
    once "${out}/.done" "" "${out}/wav.scp" data librispeech --corpus "${corpus}" \
        --subset "${subsets[@]}" --out "${out}" --partial "${partial}" "$@"
}

if [ "${held_out_speakers}" -gt 0 ]; then
    # data/dev comes out of the training readers, so its mark is that of the training set.
    rm -f data/dev/.done
    [ -e data/dev/wav.scp ] || rm -f "data/${train_set}/.done"
    prepare "${train_set}" "${train_subsets}" --split_speakers "${held_out_speakers}" \
        --split_seed "${held_out_seed}" --split_out data/dev
else
    prepare "${train_set}" "${train_subsets}"
    prepare dev "${dev_subsets}"
fi
for subset in ${dev_subsets} ${test_subsets}; do
    prepare "${subset//-/_}" "${subset}"
done
