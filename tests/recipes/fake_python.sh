#!/usr/bin/env bash
# Stands in for Python in the tests of supernet.sh: writes the command down (FAKE_LOG) and makes the
# files that the real one would make. `-c` programs and scripts go to the real Python (REAL_PYTHON).
set -euo pipefail
case $1 in -c | *.py) exec "${REAL_PYTHON}" "$@" ;; esac
printf '%s\n' "$*" >>"${FAKE_LOG}"

value() { # of option $1 in the rest
    local name=$1
    shift
    while [ $# -gt 0 ]; do
        if [ "$1" = "${name}" ]; then
            echo "$2"
            return
        fi
        shift
    done
}
out=$(value --output_dir "$@")
case "$*" in
    *bin.*_train\ *--collect_stats*) mkdir -p "${out}" ;;
    *aggregate_stats_dirs*)
        for part in train valid; do
            mkdir -p "${out}/${part}"
            echo "utt1 3" | tee "${out}/${part}/text_shape" >"${out}/${part}/speech_shape"
        done
        ;;
    *bin.???_train\ * | *bin.encrl_train\ *)
        echo '{"server": {}, "device": {}}' >"${out}/subnets.json"
        echo "chunk_size: 16" >"${out}/config.yaml"
        touch "${out}"/{checkpoint.pth,valid.loss.ave.pth,valid.loss.ave_5best.pth}
        ;;
    *bin.salad_labels*)
        mkdir -p "${out}"
        touch "${out}"/labels.{ark,scp,json}
        ;;
    *bin.salad_train*) touch "${out}"/{config.yaml,checkpoint.pth,valid.loss.ave.pth} ;;
    *bin.salad_threshold*)
        mkdir -p "${out}"
        touch "${out}"/detector.{pth,json}
        ;;
    *bin.prune_extract*)
        mkdir -p "${out}"
        touch "${out}"/model.pth
        printf '%s\n' "encoder_conf:" "    linear_units: 288" "ctc_conf: {}" >"${out}/config.yaml"
        if [ "$(value --subnet "$@")" = device ]; then
            printf '%s\n' "chunk_size: 16" "frontend: log_mel" "encoder: ${FAKE_ENCODER:-supernet_conformer}" ${FAKE_LINE:+"${FAKE_LINE}"} \
                >"${out}/config.yaml"
        fi
        ;;
    *bin.bundle*)
        mkdir -p "${out}"
        touch "${out}"/{bundle.json,weights.npz}
        ;;
    *bin.latency*)
        mkdir -p "${out}"
        echo '{}' >"${out}/latency.json"
        ;;
    *bin.asr_inference*)
        mkdir -p "${out}"
        for file in text token token_int score token_time; do
            awk '{ print $1, "a" }' "$(value --key_file "$@")" >"${out}/${file}"
        done
        {
            echo "num_utterances: $(wc -l <"${out}/text")"
            echo "real_time_factor: 0.1"
            echo "command: decode $*"
        } >"${out}/decode.yaml"
        ;;
    *bin.check_streaming*) echo '{}' >"$(value --output "$@")" ;;
    *bin.score*)
        mkdir -p "$(value --out "$@")/score_wer"
        echo '{}' >"$(value --out "$@")/score_wer/summary.json"
        ;;
    *bin.report*) echo "the table" >"$(value --out "$@")" ;;
    *bin.pack*) touch "$(value --outpath "$@")" ;;
esac
