# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables are options of supernet.sh, which sources this file
# Stages 10 to 14: what comes of a training, subnet by subnet.

decode_dir() { echo "${asr_exp}/decode_$1${inference_tag:+_${inference_tag}}/$2"; } # SUBNET SET
trained_subnets() { "${python}" -c 'import json, sys; print(*json.load(open(sys.argv[1])))' "${asr_exp}/subnets.json"; }
chosen_subnets() { # the subnets asked for, each checked against those of the experiment
    local name trained
    [ -f "${asr_exp}/subnets.json" ] || die 1 "${asr_exp}/subnets.json is missing: run stage 9 first"
    trained=$(trained_subnets)
    for name in ${subnets}; do
        [[ " ${trained} " == *" ${name} "* ]] || die 2 "--subnets: '${name}' is not one of: ${trained}"
    done
    echo "${subnets:-${trained}}"
}

find_model() { # sets inference_asr_model to a name in asr_exp
    inference_asr_model=$(only_file "${asr_exp}/${inference_asr_model:-valid.*.ave.pth}" "run stage 9 first" --inference_asr_model)
}

model_options() { # as words; the names hold no blanks
    echo "--asr_train_config ${asr_exp}/config.yaml --asr_model_file ${asr_exp}/${inference_asr_model}"
}

has_bundles() { # CONFIG: does the subnet stream, and does the runtime know its parts?
    grep -q chunk_size: "$1" && grep -q '^frontend: log_mel$' "$1" &&
        grep -qE '^encoder: supernet_(conformer|transformer)$' "$1"
}

stage_10() {
    local name out names precision
    names=$(chosen_subnets)
    find_model
    for name in ${names}; do
        out=${asr_exp}/extracted_${name}
        # shellcheck disable=SC2046
        once "${out}/.done" "${asr_exp}/${inference_asr_model}" "$(in_dir "${out}" "config.yaml model.pth")" \
            bin prune_extract $(model_options) --subnet "${name}" --output_dir "${out}" \
            --wav_scp "${raw}/${valid_set}/wav.scp"
        if ! has_bundles "${out}/config.yaml"; then continue; fi
        for precision in ${bundles}; do
            out=${asr_exp}/bundle_${name}_${precision}
            # shellcheck disable=SC2046
            once "${out}.done" "${asr_exp}/${inference_asr_model}" "$(in_dir "${out}" "bundle.json weights.npz")" \
                bin bundle $(model_options) --subnet "${name}" --precision "${precision}" --output_dir "${out}" \
                --wav_scp "${raw}/${valid_set}/wav.scp"
        done
    done
}

decode() { # SUBNET DATA_DIR OUT_DIR CONFIG ARGS
    local logs=$3/logdir jobs
    jobs=$(jobs_for "$2/wav.scp" 50 "${inference_nj}") # a job takes 10 s to start
    # What a killed run has decoded is kept, unless the set is now split otherwise.
    if "${force}" || [ "$(find "${logs}" -name 'keys.*' 2>/dev/null | wc -l)" != "${jobs}" ]; then rm -rf "$3"; fi
    split_lines "$2/wav.scp" "${jobs}" "${logs}/keys"
    # shellcheck disable=SC2046,SC2086
    run_jobs "${jobs}" "${logs}/asr_inference.{JOB}.log" "${python}" -m espnet2_supernet.bin.asr_inference \
        --config "$4" $(model_options) --subnet "$1" --key_file "${logs}/keys.{JOB}" \
        --data_path_and_name_and_type "$2/wav.scp,speech,sound" --output_dir "${logs}/output.{JOB}" $5
    "${python}" scripts/join_decoded.py "$3"
}

stage_11() {
    local name set out names
    names=$(chosen_subnets)
    find_model
    needs "${inference_config}" "choose another --inference_config"
    for name in ${names}; do
        for set in ${test_sets}; do
            out=$(decode_dir "${name}" "${set}")
            log "  ${name}: ${set}"
            once "${out}/.done" "${asr_exp}/${inference_asr_model} ${inference_config} $(test_dir "${set}")/wav.scp" \
                "${out}/text" decode "${name}" "$(test_dir "${set}")" "${out}" "${inference_config}" "${inference_args}"
        done
    done
    "${check_streaming}" || return 0
    grep -q chunk_size: "${asr_exp}/config.yaml" || { log "  no subnet streams: nothing to check" && return; }
    log "  streamed against masked decoding: ${valid_set}"
    # shellcheck disable=SC2046,SC2086
    once "${asr_exp}/check_streaming/.done" "${asr_exp}/${inference_asr_model} ${raw}/org/${valid_set}/wav.scp" \
        "${asr_exp}/check_streaming/report.json" \
        run_logged "${asr_exp}/check_streaming/check_streaming.log" "${python}" -m espnet2_supernet.bin.check_streaming \
        $(model_options) --wav_scp "${raw}/org/${valid_set}/wav.scp" \
        --output "${asr_exp}/check_streaming/report.json" ${check_streaming_args}
}

stage_12() {
    local name set out names
    names=$(chosen_subnets)
    for name in ${names}; do
        for set in ${test_sets}; do
            out=$(decode_dir "${name}" "${set}")
            log "  ${name}: ${set}"
            needs "${out}/text" "run stage 11 first"
            # shellcheck disable=SC2086
            once "${out}/.done_score" "${out}/text $(test_dir "${set}")/text" "${out}/score_wer/summary.json" \
                bin score --ref "$(test_dir "${set}")/text" --hyp "${out}/text" \
                --utt2spk "$(test_dir "${set}")/utt2spk" --out "${out}" ${score_args}
        done
    done
    bin report --expdir "${asr_exp}" --out "${asr_exp}/RESULTS.md"
    cat "${asr_exp}/RESULTS.md"
}

measured_models() { # sets models and found: what stage 13 measures of an experiment
    local asr_exp=$1 name names precision bundle
    names=$(chosen_subnets)
    for name in ${names}; do
        models+=("${asr_exp}/extracted_${name}")
        for precision in ${bundles}; do
            bundle=${asr_exp}/bundle_${name}_${precision}
            [ ! -f "${bundle}/bundle.json" ] || found+=("${bundle}")
        done
    done
}

stage_13() { # every row of the validation set in turns, on one core: run nothing else meanwhile
    local exp found=() models=() data out=${latency_dir:-${asr_exp}/latency}
    data=$(test_dir "${valid_set}")
    for exp in ${latency_exps:-"${asr_exp}"}; do measured_models "${exp}"; done
    # shellcheck disable=SC2086
    once "${out}/.done" "${models[*]/%//model.pth} ${found[*]/%//bundle.json} ${data}/wav.scp" "${out}/latency.json" \
        bin latency --models "${models[@]}" --bundles "${found[@]}" --wav_scp "${data}/wav.scp" \
        --text "${data}/text" --inference_config "${inference_config}" --output_dir "${out}" ${latency_args}
    [ -n "${latency_exps}" ] || bin report --expdir "${asr_exp}" --out "${asr_exp}/RESULTS.md"
}

stage_14() {
    local extra=()
    find_model
    [ "${token_type}" != bpe ] || extra+=(--option "${token_dir}/bpe.model")
    [ "${feats_normalize}" != global_mvn ] || extra+=(--option "${asr_stats_dir}/train/feats_stats.npz")
    [ ! -f "${asr_exp}/RESULTS.md" ] || extra+=(--option "${asr_exp}/RESULTS.md")
    # shellcheck disable=SC2046
    once "${asr_exp}/.done_pack" "${asr_exp}/${inference_asr_model}" "${asr_exp}/${asr_tag}.zip" \
        "${python}" -m espnet2.bin.pack asr $(model_options) --option "${asr_exp}/subnets.json" "${extra[@]}" \
        --outpath "${asr_exp}/${asr_tag}.zip"
    log "  ${asr_exp}/${asr_tag}.zip"
}
