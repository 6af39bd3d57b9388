# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables are options of supernet.sh, which sources this file
# Stages 6 to 9: statistics and training, first without text, then with it.

# One job per 5000 utterances (a job takes 10 s to start), each with its part of both sets.
run_stats() { # STATS_DIR TRAIN_DIR VALID_DIR COMMAND OPTIONS...
    local stats=$1 train_scp=$2/wav.scp valid_scp=$3/wav.scp command=$4
    local logs=$1/logdir jobs parts=() job
    shift 4
    rm -rf "${logs}"
    jobs=$(jobs_for "${train_scp}" 5000 "${nj}")
    jobs=$(jobs_for "${valid_scp}" 1 "${jobs}")
    split_lines "${train_scp}" "${jobs}" "${logs}/train"
    split_lines "${valid_scp}" "${jobs}" "${logs}/valid"
    run_jobs "${jobs}" "${logs}/stats.{JOB}.log" "${python}" -m "espnet2_supernet.bin.${command}" \
        --collect_stats true --ngpu 0 "$@" --train_shape_file "${logs}/train.{JOB}" \
        --valid_shape_file "${logs}/valid.{JOB}" --output_dir "${logs}/stats.{JOB}"
    for ((job = 1; job <= jobs; job++)); do parts+=(--input_dir "${logs}/stats.${job}"); done
    run_logged "${logs}/aggregate.log" "${python}" -m espnet2.bin.aggregate_stats_dirs "${parts[@]}" \
        --output_dir "${stats}"
}

frontend_options() { # CONFIG ARGS: all that the statistics depend on in the training options
    "${python}" -c 'import sys, yaml; c = yaml.safe_load(open(sys.argv[1])) or {}
print({k: v for k, v in sorted(c.items()) if k.startswith("frontend")}, sys.argv[2:])' \
        "$1" "$(grep -oE -- '--frontend[^ ]*[ =][^ ]+' <<<"$2" || true)"
}

normalize_options() { # STATS_DIR, as words; the names hold no blanks
    [ "${feats_normalize}" != none ] || return 0
    echo "--normalize ${feats_normalize}"
    [ "${feats_normalize}" != global_mvn ] || echo "--normalize_conf stats_file=$1/train/feats_stats.npz"
}

# Training locks its folder itself; here nothing is moved or written while another one is at work.
refuse_second_training() { # EXP
    [ -e "$1/.lock" ] && command -v flock >/dev/null || return 0
    flock --shared --nonblock --conflict-exit-code 100 "$1/.lock" true || [ $? -ne 100 ] ||
        die 1 "$1: $(cat "$1/.lock") is training there: wait for it, end it and resume, or name another experiment"
}

set_aside() { # EXP
    local kept
    [ -e "$1/checkpoint.pth" ] || return 0
    until kept=$1.old.$(date +%Y%m%d%H%M%S) && [ ! -e "${kept}" ]; do sleep 1; done
    mv "$1" "${kept}"
}

start_files() { # OPTIONS: the weights that they name, to begin with or to copy
    local words word option=""
    read -ra words <<<"$1"
    for word in "${words[@]}"; do
        case ${word} in
            --*=*) option=${word%%=*} word=${word#*=} ;;
            --*) option=${word} && continue ;;
        esac
        case ${option} in
            --init_param) echo "${word%%:*}" ;;
            --init_model_file | --teacher_model_file) echo "${word}" ;;
        esac
    done
}

newer_than() { # FILE OTHERS...: is one of the others newer?
    local file
    for file in "${@:2}"; do [ ! "${file}" -nt "$1" ] || return 0; done
    return 1
}

# With --force, and when the weights that it began with have been made anew since, an earlier experiment
# is kept under another name: to go on with it would be to go on from the old ones.
start_experiment() { # EXP STAGE WEIGHTS...
    refuse_second_training "$1"
    if "${force}" || newer_than "$1/checkpoint.pth" "${@:3}"; then set_aside "$1"; fi
    mkdir -p "$1"
    # The way to go on with this experiment, as in ESPnet.
    printf '#!/usr/bin/env bash\ncd %q && %s--stage %d "$@"\n' "${PWD}" "${command_line}" "$2" >"$1/run.sh"
    chmod +x "$1/run.sh"
}

# One node: ESPnet's own spawn. Several: ESPnet's launch through the cluster wrapper, or srun/mpirun
# inside an allocation.
launch_training() { # EXP COMMAND OPTIONS...
    local exp=$1 train=("${python}" -m "espnet2_supernet.bin.$2" "${@:3}") backend=() launcher=()
    local gpus=(--ngpu "${ngpu}")
    [ "${ngpu}" -gt 0 ] || backend=(--dist_backend gloo)
    if [ "${cmd_backend}" != local ] && [ -z "${dist_launcher}" ]; then
        log "  follow it with: tail -F ${exp}/progress.log"
        run_logged "${exp}/launch.log" "${python}" -m espnet2.bin.launch --cmd "${cuda_cmd}" \
            --log "${exp}/train.log" "${gpus[@]}" --num_nodes "${num_nodes}" \
            --init_file_prefix "${exp}/.dist_init_" --multiprocessing_distributed true -- "${train[@]}"
        return
    fi
    case ${dist_launcher}:${num_nodes} in
        :1)
            [ "${ngpu}" -le 1 ] || gpus+=(--multiprocessing_distributed true)
            run_logged "${exp}/train.log" "${train[@]}" "${gpus[@]}"
            return
            ;;
        :*) die 1 "--num_nodes ${num_nodes} needs cmd_backend=slurm, cmd_backend=sge or --dist_launcher" ;;
        slurm:*) launcher=(srun --nodes "${num_nodes}" --ntasks-per-node 1 --export=ALL) ;;
        mpi:*) launcher=(mpirun -np "${num_nodes}") ;;
    esac
    run_logged "${exp}/train.log" "${launcher[@]}" "${train[@]}" "${gpus[@]}" \
        --multiprocessing_distributed true --dist_launcher "${dist_launcher}" \
        --dist_init_method "file://$(readlink -f "${exp}")/.dist_init_$$" "${backend[@]}"
}

speech_options() { # TRAIN_DIR VALID_DIR, as words
    echo "--train_data_path_and_name_and_type $1/wav.scp,speech,sound"
    echo "--valid_data_path_and_name_and_type $2/wav.scp,speech,sound"
}

speech_shapes() { # STATS_DIR, as words
    echo "--train_shape_file $1/train/speech_shape --valid_shape_file $1/valid/speech_shape --fold_length 80000"
}

# ------------------------------------------------------------------------------- pre-training

collect_ssl_stats() {
    # shellcheck disable=SC2046,SC2086
    run_stats "${ssl_stats_dir}" "${ssl_train_dir}" "${ssl_valid_dir}" ssl_train --config "${ssl_config}" \
        $(speech_options "${ssl_train_dir}" "${ssl_valid_dir}") ${ssl_args}
}

stage_6() {
    needs "${ssl_config}" "choose another --ssl_config"
    needs "${ssl_train_dir}/wav.scp" "run stages 1 to 4 first, with the same --ssl_train_sets"
    once "${ssl_stats_dir}/.done" "${ssl_train_dir}/wav.scp ${ssl_valid_dir}/wav.scp" \
        "${ssl_stats_dir}/train/speech_shape ${ssl_stats_dir}/valid/speech_shape" \
        collect_ssl_stats "${ssl_train_dir}" "${ssl_valid_dir}" "$(frontend_options "${ssl_config}" "${ssl_args}")"
}

pretrain() {
    local weights
    mapfile -t weights < <(start_files "${ssl_args}")
    start_experiment "${ssl_exp}" 7 "${weights[@]}"
    # shellcheck disable=SC2046,SC2086
    launch_training "${ssl_exp}" ssl_train --config "${ssl_config}" \
        $(speech_options "${ssl_train_dir}" "${ssl_valid_dir}") $(speech_shapes "${ssl_stats_dir}") \
        $(normalize_options "${ssl_stats_dir}") --resume true --output_dir "${ssl_exp}" ${ssl_args}
}

stage_7() {
    needs "${ssl_config}" "choose another --ssl_config"
    needs "${ssl_stats_dir}/.done" "run stage 6 first, with the same --ssl_train_sets"
    once "${ssl_exp}/.done" "${ssl_config} ${ssl_stats_dir}/.done $(start_files "${ssl_args}" | tr '\n' ' ')" \
        "$(in_dir "${ssl_exp}" "config.yaml subnets.json")" \
        pretrain "${ssl_config}" "${ssl_stats_dir}" "${feats_normalize}" "${ssl_args}"
}

find_ssl_model() { # sets ssl_model to a name in ssl_exp
    ssl_model=$(only_file "${ssl_exp}/${ssl_model:-valid.*.ave.pth}" "run stage 7 first (--use_ssl true)" --ssl_model)
}

# -------------------------------------------------------------------------------- recognition

collect_stats() {
    local part
    # shellcheck disable=SC2086
    run_stats "${asr_stats_dir}" "${raw}/${train_set}" "${raw}/${valid_set}" asr_train --use_preprocessor true \
        --config "${asr_config}" "${token_options[@]}" "${data_options[@]}" ${asr_args}
    for part in train valid; do
        awk -v size="$(wc -l <"${token_dir}/tokens.txt")" '{ print $0 "," size }' \
            "${asr_stats_dir}/${part}/text_shape" >"${asr_stats_dir}/${part}/text_shape.${token_type}"
    done
}

stage_8() {
    needs "${asr_config}" "choose another --asr_config"
    needs "${token_dir}/tokens.txt" "run stage 5 first"
    once "${asr_stats_dir}/.done" "${token_dir}/tokens.txt $(in_dir "${raw}/${train_set}" \
        "wav.scp text") $(in_dir "${raw}/${valid_set}" "wav.scp text")" \
        "${asr_stats_dir}/train/speech_shape ${asr_stats_dir}/valid/speech_shape" \
        collect_stats "${token_dir}" "${raw}/${train_set}" "${raw}/${valid_set}" \
        "$(frontend_options "${asr_config}" "${asr_args}")"
}

collect_encrl_stats() {
    # shellcheck disable=SC2046,SC2086
    run_stats "${encrl_stats_dir}" "${encrl_train_dir}" "${raw}/${valid_set}" encrl_train --config "${asr_config}" \
        "${token_options[@]}" $(speech_options "${encrl_train_dir}" "${raw}/${valid_set}") ${asr_args}
}

make_encrl_stats() { # the lengths of what it learns from, for its batches
    needs "${encrl_train_dir}/wav.scp" "choose another --encrl_train_dir"
    once "${encrl_stats_dir}/.done" "${encrl_train_dir}/wav.scp ${raw}/${valid_set}/wav.scp" \
        "$(in_dir "${encrl_stats_dir}" "train/speech_shape valid/speech_shape")" \
        collect_encrl_stats "${encrl_train_dir}" "$(frontend_options "${asr_config}" "${asr_args}")"
}

find_data() { # sets data: the options of what stage 9 reads
    if [ -n "${encrl_train_dir}" ]; then
        # shellcheck disable=SC2207  # words
        data=($(speech_options "${encrl_train_dir}" "${raw}/${valid_set}") $(speech_shapes "${encrl_stats_dir}"))
        return
    fi
    data=("${data_options[@]}"
        --train_shape_file "${asr_stats_dir}/train/speech_shape"
        --train_shape_file "${asr_stats_dir}/train/text_shape.${token_type}"
        --valid_shape_file "${asr_stats_dir}/valid/speech_shape"
        --valid_shape_file "${asr_stats_dir}/valid/text_shape.${token_type}"
        --fold_length 80000 --fold_length 150)
}

train() {
    local start=() data weights
    find_data
    mapfile -t weights < <(start_files "${asr_args}")
    ! "${starts_from_ssl}" || weights+=("${ssl_exp}/${ssl_model}")
    start_experiment "${asr_exp}" 9 "${weights[@]}"
    ! "${starts_from_ssl}" || start=(--ssl_model_file "${ssl_exp}/${ssl_model}" --ssl_masks "${ssl_masks}")
    # shellcheck disable=SC2046,SC2086
    launch_training "${asr_exp}" "${train_command}" --use_preprocessor true --config "${asr_config}" \
        "${token_options[@]}" "${data[@]}" $(normalize_options "${asr_stats_dir}") "${start[@]}" \
        --resume true --output_dir "${asr_exp}" ${asr_args}
}

stage_9() {
    local inputs="${asr_config} ${asr_stats_dir}/.done" from=()
    needs "${asr_config}" "choose another --asr_config"
    needs "${asr_stats_dir}/.done" "run stage 8 first"
    if "${starts_from_ssl}"; then
        find_ssl_model
        from=("${ssl_model}" "${ssl_masks}")
        inputs+=" ${ssl_exp}/${ssl_model}"
    fi
    inputs+=" $(start_files "${asr_args}" | tr '\n' ' ')"
    [ "${train_command}" = asr_train ] || from+=("${train_command}")
    if [ -n "${encrl_train_dir}" ]; then
        make_encrl_stats
        inputs+=" ${encrl_stats_dir}/.done"
        from+=("${encrl_train_dir}")
    fi
    once "${asr_exp}/.done" "${inputs}" "$(in_dir "${asr_exp}" "config.yaml subnets.json")" \
        train "${asr_config}" "${asr_stats_dir}" "${feats_normalize}" "${asr_args}" "${from[@]}"
}
