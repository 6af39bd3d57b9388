# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables are options of damon.sh, which sources this file
# SAFARI and its baselines: a dense start, pruning while it is fine-tuned, and the table.

dense_dir() { echo "${expdir}/dense_$(basename "${teacher_exp}")_${teacher_subnet}"; }
small_dir() { echo "$(dense_dir)_sparsity${pruning_sparsity}"; }
method_exp() { # METHOD RULE
    local name=$1_sparsity${pruning_sparsity}
    [ "$2" = none ] || name+=_tokens_$(rule_name "$2")
    echo "${expdir}/asr_$(basename "${asr_config}" .yaml)_${name}$(tr -d ' /|=' <<<"${asr_args//--/_}")"
}

each_pruned() { # FUNCTION: call it with every method and rule, but salad reads the teacher's frames
    local method rule
    for method in ${pruning}; do
        for rule in ${pruning_tokens}; do
            [[ ${method}:${rule} == small:salad* ]] || "$1" "${method}" "${rule}"
        done
    done
}

yaml_block() { sed -n "/^$2:/,/^[^ #-]/{/^$2:/p;/^ /p}" "$1"; } # FILE KEY: one top-level block
without_blocks() { # FILE KEYS: all other blocks
    awk -v keys=" $2 " '/^[^ #-]/ { key = $0; sub(/:.*/, "", key); skip = index(keys, " " key " ") } !skip' "$1"
}

extract_teacher() { # DIR OPTIONS: the dense row to start from, or to take the sizes of
    # shellcheck disable=SC2046
    once "$1/.done" "${teacher_exp}/${teacher_model}" "$(in_dir "$1" "config.yaml model.pth")" \
        bin prune_extract $(teacher_options) --subnet "${teacher_subnet}" --output_dir "$1" \
        --wav_scp "${raw}/${valid_set}/wav.scp" "${@:2}"
}

method_config() { # METHOD: the training configuration, with the method's table of subnets
    local preset=${pruning_conf}/$1.yaml left_out="supernet_conf"
    [ "$1" != small ] || preset=${pruning_conf}/dense.yaml left_out="supernet_conf encoder_conf freeze_param"
    [ -f "${preset}" ] || die 1 "--pruning: no ${preset}; there are: $(cd "${pruning_conf}" && echo ./*.yaml)"
    mkdir -p "${expdir}/conf"
    {
        without_blocks "${asr_config}" "${left_out}"
        yaml_block "${preset}" supernet_conf
        [ "$1" != small ] || yaml_block "$(small_dir)/config.yaml" encoder_conf
    } >"${expdir}/conf/.$1.yaml"
    # The same text keeps its date, so that what it trained stays up to date
    cmp -s "${expdir}/conf/.$1.yaml" "${expdir}/conf/$1.yaml" ||
        cp "${expdir}/conf/.$1.yaml" "${expdir}/conf/$1.yaml"
    rm "${expdir}/conf/.$1.yaml"
}

train_pruned() { # METHOD RULE
    local method=$1 rule=$2 exp options=""
    exp=$(method_exp "${method}" "${rule}")
    log "  ${method}, ${rule}: ${exp}"
    check_detector "${rule}"
    if [ "${method}" = small ]; then
        extract_teacher "$(small_dir)" --sparsity "${pruning_sparsity}" \
            --pattern "{structured: {kinds: [attention_heads, linear_units, convolution_channels]}}"
        grep -q '^encoder_conf:' "$(small_dir)/config.yaml" || die 1 "$(small_dir)/config.yaml has no encoder_conf"
    else
        options="$(start_options "${rule}" "$(dense_dir)/model.pth") --supernet_conf subnets.device.mask.sparsity=${pruning_sparsity}"
    fi
    [ "${rule}" = none ] || options+=" $(rule_options "${rule}")"
    method_config "${method}"
    supernet --stage 9 --stop_stage 9 --force "${force}" --asr_config "${expdir}/conf/${method}.yaml" \
        --asr_exp "${exp}" --asr_args "${options//$'\n'/ } ${asr_args}"
}

stage_7() {
    find_teacher
    [ -z "${pruning}" ] || extract_teacher "$(dense_dir)"
    [[ " ${pruning} " != *" small "* || " ${pruning_tokens}" != *" salad"* ]] ||
        log "  small: not with salad, whose detector reads the teacher's frames"
    each_pruned train_pruned
}

evaluate_pruned() { # METHOD RULE
    local exp
    exp=$(method_exp "$1" "$2")
    log "  $1, $2: ${exp}"
    method_config "$1"
    evaluate "${expdir}/conf/$1.yaml" "${exp}"
}

stage_8() {
    local exps
    each_pruned evaluate_pruned
    mapfile -t exps < <(each_pruned method_exp)
    [ -z "${pruning}" ] || bin report --expdir "${exps[@]}" --out "${expdir}/RESULTS_PRUNING.md"
}
