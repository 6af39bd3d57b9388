#!/usr/bin/env bash
# data/{train_nodev,train_dev} and, with --test true, data/test, from the path in AN4 (db.sh).
# For pre-training also data/librispeech, audio without text, from the path in LIBRISPEECH.
set -euo pipefail
. ./scripts/common.sh

# options {
test=false    # also prepare the test set
partial=false # accept a copy whose sizes are not those of the original
librispeech_subsets="" # for data/librispeech, joined by commas; an excerpt will do
# } options
parse_options "${BASH_SOURCE[0]}" "$@"
. ./path.sh
. ./db.sh

data() { "${python:-python3}" -m espnet2_supernet.bin.data "$@"; }
corpus=${AN4}
if [ "${corpus}" = downloads ]; then
    data download --corpus an4 --out downloads
fi
[ -e "${corpus}" ] || die 1 "AN4=${corpus} does not exist; AN4=downloads fetches it"
outputs="data/train_nodev/wav.scp data/train_dev/wav.scp"
! "${test}" || outputs+=" data/test/wav.scp"
once data/.done "" "${outputs}" data an4 --corpus "${corpus}" --out data --test "${test}" \
    --extract_dir downloads/an4_extracted --partial "${partial}"

[ -n "${librispeech_subsets}" ] || exit 0
read -ra subsets <<<"${librispeech_subsets//,/ }"
corpus=${LIBRISPEECH}
if [ "${corpus}" = downloads ]; then
    data download --corpus librispeech --subset "${subsets[@]}" --out downloads
fi
[ -d "${corpus}" ] || die 1 "LIBRISPEECH=${corpus} does not exist; LIBRISPEECH=downloads fetches it"
once data/librispeech/.done "" data/librispeech/wav.scp data librispeech --corpus "${corpus}" \
    --subset "${subsets[@]}" --out data/librispeech --partial true --audio_only true
