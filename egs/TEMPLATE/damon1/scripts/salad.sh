# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables are options of damon.sh, which sources this file
# SALAD: labels, detector, threshold, fine-tuning with dropping, and the table.

teacher_options() { # as words; the names hold no blanks
    echo "--asr_train_config ${teacher_exp}/config.yaml --asr_model_file ${teacher_exp}/${teacher_model}"
}

stage_2() {
    local dir out
    find_teacher
    for dir in "${salad_train_dir}" "${raw}/${valid_set}"; do
        out=${label_dir}/$(basename "${dir}")
        # shellcheck disable=SC2046
        once "${out}/.done" "${teacher_exp}/${teacher_model} ${dir}/wav.scp" \
            "$(in_dir "${out}" "labels.ark labels.scp labels.json")" \
            bin salad_labels $(teacher_options) --subnet "${teacher_subnet}" \
            --wav_scp "${dir}/wav.scp" --output_dir "${out}"
    done
}

salad_data_options() { # as words
    local part
    for part in "train ${salad_train_dir}" "valid ${raw}/${valid_set}"; do
        echo "--${part%% *}_data_path_and_name_and_type ${part#* }/wav.scp,speech,sound"
        echo "--${part%% *}_data_path_and_name_and_type ${label_dir}/$(basename "${part#* }")/labels.scp,labels,kaldi_ark"
    done
}

collect_salad_stats() {
    # shellcheck disable=SC2046
    run_stats "${salad_stats_dir}" "${salad_train_dir}" "${raw}/${valid_set}" salad_train \
        --config "${salad_config}" --asr_model_file "${teacher_exp}/${teacher_model}" $(salad_data_options)
}

train_detector() { # CONFIG ARGS TEACHER LABELS...: what it depends on
    # A training that had ended would not go on with other labels, but keep its old detector; one that was
    # cut would learn from both
    if "${force}" || [ -e "${salad_exp}/valid.loss.ave.pth" ] ||
        newer_than "${salad_exp}/checkpoint.pth" "${@:4}"; then set_aside "${salad_exp}"; fi
    mkdir -p "${salad_exp}"
    # shellcheck disable=SC2046,SC2086
    num_nodes=1 dist_launcher="" launch_training "${salad_exp}" salad_train --config "${salad_config}" \
        --asr_model_file "${teacher_exp}/${teacher_model}" $(salad_data_options) \
        $(speech_shapes "${salad_stats_dir}") \
        --resume true --output_dir "${salad_exp}" ${salad_args}
}

stage_3() {
    local labels
    find_teacher
    labels="${label_dir}/$(basename "${salad_train_dir}")/labels.scp ${label_dir}/${valid_set}/labels.scp"
    once "${salad_stats_dir}/.done" "${labels}" "${salad_stats_dir}/train/speech_shape" \
        collect_salad_stats "${salad_train_dir}" "${raw}/${valid_set}"
    # shellcheck disable=SC2086  # words
    once "${salad_exp}/.done" "${salad_config} ${labels} ${salad_stats_dir}/.done" \
        "$(in_dir "${salad_exp}" "config.yaml valid.loss.ave.pth")" \
        train_detector "${salad_config}" "${salad_args}" "${teacher_exp}/${teacher_model}" ${labels}
}

stage_4() {
    # shellcheck disable=SC2086
    once "${detector}/.done" "${salad_exp}/valid.loss.ave.pth ${label_dir}/${valid_set}/labels.scp" \
        "$(in_dir "${detector}" "detector.pth detector.json")" \
        bin salad_threshold --salad_model_file "${salad_exp}/valid.loss.ave.pth" \
        --wav_scp "${raw}/${valid_set}/wav.scp" --labels "${label_dir}/${valid_set}/labels.scp" \
        ${salad_target} --output_dir "${detector}"
}

# ------------------------------------------------------------------------- rules and experiments

rule_name() { # RULE, as part of a folder's name
    local name=$1
    [[ ${name} != salad* ]] || name=${name/salad/salad_$(basename "${detector}")}
    tr ':=' '__' <<<"${name}"
}

rule_exp() { # RULE: the experiment that drops frames by it
    echo "${expdir}/asr_$(basename "${asr_config}" .yaml)_tokens_$(rule_name "$1")$(tr -d ' /|=' <<<"${asr_args//--/_}")"
}

each_rule() { local rule; for rule in ${tokens}; do "$1" "${rule}"; done; } # FUNCTION

rule_options() { # RULE (kind[:key=value]): its place in the table of subnets, as words
    local subnet kind=${1%%:*} rest=""
    [ "${kind}" = "$1" ] || rest=${1#*:}
    for subnet in ${token_subnets}; do
        echo "--supernet_conf subnets.${subnet}.tokens.kind=${kind}"
        [ -z "${rest}" ] || echo "--supernet_conf subnets.${subnet}.tokens.${rest//:/ --supernet_conf subnets.${subnet}.tokens.}"
    done
}

start_options() { # RULE MODEL: the weights to start from, as words
    echo "--init_param $2"
    [[ $1 != salad* ]] || echo "${detector}/detector.pth"
}

check_detector() { # RULE
    [[ $1 != salad* || -f ${detector}/detector.pth ]] ||
        die 1 "${detector}/detector.pth is missing: run stages 2 to 4 first"
}

train_rule() { # RULE
    local exp options
    exp=$(rule_exp "$1")
    log "  $1: ${exp}"
    check_detector "$1"
    options=$(rule_options "$1" && start_options "$1" "${teacher_exp}/${teacher_model}")
    supernet --stage 9 --stop_stage 9 --force "${force}" --asr_config "$(realpath "${asr_config}")" \
        --asr_exp "${exp}" --asr_args "${options//$'\n'/ } ${asr_args}"
}

stage_5() {
    find_teacher
    [ -f "${asr_config}" ] || die 1 "${asr_config} is missing (--asr_config)"
    each_rule train_rule
}

evaluate_rule() { # RULE
    local exp
    exp=$(rule_exp "$1")
    log "  $1: ${exp}"
    evaluate "$(realpath "${asr_config}")" "${exp}"
}

stage_6() {
    local exps
    each_rule evaluate_rule
    mapfile -t exps < <(each_rule rule_exp)
    bin report --expdir "${exps[@]}" --out "${expdir}/RESULTS.md"
    cat "${expdir}/RESULTS.md"
}
