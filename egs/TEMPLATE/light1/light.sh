#!/usr/bin/env bash
# Light-weight models from one large one (EncRL, arXiv 2505.16991), by the stages of the same corpus's
# supernet1 recipe: its data, its experiments' folder, its decoding and scoring.
#
#   stage  what it does
#   1      data, tokens and statistics: stages 1 to 5 and 8 of supernet1
#   2      the large model
#   3      representation learning: a smaller encoder copies the large one, without text
#   4      fine-tuning of every size, from the last blocks of stage 3
#   5      baselines (--baselines)
#   6      extract, decode and score every model; stage 3's as it is, without fine-tuning, too
#   7      real-time factors: all models in turns
#   8      one table: error rates, parameters, training cost, real-time factor
#
# Every stage skips what is up to date and can be run alone: --stage 8 --stop_stage 8.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./scripts/common.sh

# options {
stage=1                                # first stage
stop_stage=8                           # last stage
skip_stages=""                         # numbers to leave out
python=python3                         # Python command
recipe=../supernet1                    # the corpus's recipe
corpus_args=""                         # options of its run.sh that go with the models, e.g. "--nbpe 256"
recipe_args=""                         # more options of its run.sh, e.g. "--ngpu 4 --inference_nj 8"
sizes="6 4 2"                          # blocks of the small models; of early_exit and layer_drop, their rows say
student_blocks=6                       # blocks of the student of stage 3
student_init=random                    # what they start from: random, or last, first or spread of the large model's
init_blocks=last                       # blocks that a smaller size starts from: last, first or spread
large_config=conf/train.yaml           # the large model; with fewer blocks, the baseline from scratch
large_exp=""                           # experiment of the recipe that is the large model; empty: stage 2 trains it
encrl_config=conf/train_encrl.yaml     # representation learning
encrl_train_dir=""                     # folder with wav.scp for stage 3 to learn from, with or without text; empty: the training set
finetune_config=conf/train_finetune.yaml # fine-tuning
more_exps=""                           # stages 6 to 8: other experiments of the recipe for the table, too
baselines=""                           # of: scratch teacher_init kd joint early_exit layer_drop
train_args=""                          # options of every training that win over the configurations
latency_args=""                        # options of latency, e.g. "--num_utts 50 --memory_utts 0 --rows torch_fp32"
tag=light                              # begins the names of the experiments: <recipe>/exp/asr_<tag>_...
# } options
parse_options "${BASH_SOURCE[0]##*/}" "$@"
. ./path.sh

stage_titles=([1]="data" "large model" "representation learning" "fine-tuning" "baselines"
    "decode and score" "real-time factors" "table")
[ -x "${recipe}/run.sh" ] || die 2 "--recipe ${recipe}: no run.sh there"
case ${init_blocks} in last | first | spread) ;; *) die 2 "--init_blocks must be last, first or spread" ;; esac
case ${student_init} in random | last | first | spread) ;; *) die 2 "--student_init must be random, last, first or spread" ;; esac
for size in ${sizes}; do
    [[ ${size} =~ ^[1-9][0-9]*$ ]] || die 2 "--sizes: '${size}' is no number of blocks"
    [ "${size}" -le "${student_blocks}" ] || die 2 "--sizes: ${size} blocks of a student of ${student_blocks}"
done
for name in ${baselines}; do
    case ${name} in
        scratch | teacher_init | kd | joint | early_exit | layer_drop) ;;
        *) die 2 "--baselines: '${name}' is not one of: scratch teacher_init kd joint early_exit layer_drop" ;;
    esac
done

# shellcheck disable=SC2086  # words
in_recipe() { "${recipe}/run.sh" --python "${python}" "$@" ${corpus_args} ${recipe_args}; }
experiment() { if [ "$1" = large ] && [ -n "${large_exp}" ]; then echo "${large_exp}"; else echo "exp/asr_${tag}_$1"; fi; } # NAME
folder() { echo "${recipe}/$(experiment "$1")"; } # NAME
blocks() { echo "--encoder_conf num_blocks=$1"; } # NUMBER

model_of() { # NAME: the averaged weights, as the recipe sees them
    local file
    file=$(only_file "$(folder "$1")/valid.*.ave.pth" "run the stage that trains it first" "one average (remove the others)")
    echo "$(experiment "$1")/${file}"
}

train() { # NAME CONFIG ARGS COMMAND OPTIONS...
    log "  ${tag}_$1"
    [ -f "$2" ] || die 1 "$2 is missing"
    in_recipe --stage 9 --stop_stage 9 --asr_tag "${tag}_$1" --asr_config "${PWD}/$2" --asr_args "$3 ${train_args}" \
        --train_command "${4:-asr_train}" "${@:5}"
}

tell_depths() { # CONFIG: one model for all sizes has the depths of its rows, whatever --sizes says
    local depths
    [ -f "$1" ] || return 0 # train says so
    depths=$("${python}" -c 'import sys, yaml
rows = yaml.safe_load(open(sys.argv[1]))["supernet_conf"]["subnets"].values()
depths = [(row or {}).get("depth") for row in rows]
depths = {depth["layers"] if isinstance(depth, dict) else depth for depth in depths} - {None}
print(*sorted(depths, reverse=True))' "$1")
    # shellcheck disable=SC2086  # words
    [ "$(printf '%s\n' ${sizes} | sort -rnu | paste -sd ' ')" = "${depths}" ] ||
        log "  $1 has rows of ${depths} blocks, not of --sizes \"${sizes}\": change its supernet_conf.subnets for others"
}

student=encrl${student_blocks}
[ "${student_init}" = random ] || student+=_${student_init}
if [ -n "${encrl_train_dir}" ]; then
    student+=_$(basename "${encrl_train_dir}")
    encrl_train_dir=$(realpath "${encrl_train_dir}")
fi

stage_1() {
    in_recipe --stop_stage 5 --asr_config "${PWD}/${large_config}"
    in_recipe --stage 8 --stop_stage 8 --asr_config "${PWD}/${large_config}"
}

stage_2() {
    [ -z "${large_exp}" ] || { log "  nothing to do: --large_exp ${large_exp}" && return; }
    train large "${large_config}" ""
}

stage_3() {
    local teacher init=""
    teacher=$(model_of large)
    [ "${student_init}" = random ] || init="--init_model_file ${teacher} --init_blocks ${student_init}"
    train "${student}" "${encrl_config}" \
        "$(blocks "${student_blocks}") --teacher_model_file ${teacher} ${init}" encrl_train \
        --encrl_train_dir "${encrl_train_dir}"
}

stage_4() {
    local size from
    from=$(model_of "${student}")
    for size in ${sizes}; do
        train "${student}_${size}" "${finetune_config}" \
            "$(blocks "${size}") --init_model_file ${from} --init_blocks ${init_blocks}"
    done
}

stage_5() {
    local size name teacher
    [ -n "${baselines}" ] || { log "  nothing to do: no --baselines" && return; }
    for name in ${baselines}; do
        case ${name} in teacher_init | kd | joint) teacher=$(model_of large) ;; esac
        case ${name} in
            early_exit | layer_drop) # one model for all sizes
                tell_depths "conf/tuning/train_${name}.yaml"
                train "${name}" "conf/tuning/train_${name}.yaml" ""
                continue
                ;;
        esac
        for size in ${sizes}; do
            case ${name} in
                scratch) train "scratch_${size}" "${large_config}" "$(blocks "${size}")" ;;
                teacher_init)
                    train "teacher_init_${size}" "${finetune_config}" \
                        "$(blocks "${size}") --init_model_file ${teacher} --init_blocks ${init_blocks}"
                    ;;
                kd | joint)
                    train "${name}_${size}" "conf/tuning/train_${name}.yaml" \
                        "$(blocks "${size}") --teacher_model_file ${teacher}" encrl_train
                    ;;
            esac
        done
    done
}

models() { # names of all models that these options train
    local size name
    echo "large ${student}"
    for size in ${sizes}; do echo "${student}_${size}"; done
    for name in ${baselines}; do
        case ${name} in
            early_exit | layer_drop) echo "${name}" ;;
            *) for size in ${sizes}; do echo "${name}_${size}"; done ;;
        esac
    done
}

find_trained() { # sets exps to the experiments of stages 6 to 8, as the recipe sees them
    local name trained
    mapfile -t exps < <(for name in $(models); do experiment "${name}"; done)
    # shellcheck disable=SC2206  # words
    exps+=(${more_exps})
    keep_trained "${exps[@]/#/"${recipe}/"}"
    exps=("${trained[@]#"${recipe}/"}")
    [ "${#exps[@]}" -gt 0 ] || die 1 "nothing of this is trained: run stages 2 to 5 first"
}

stage_6() {
    local exp exps
    find_trained
    for exp in "${exps[@]}"; do
        log "  ${exp}"
        in_recipe --asr_exp "${exp}" --stage 10 --stop_stage 12 --bundles ""
    done
}

stage_7() { # run nothing else meanwhile
    local exps
    find_trained
    in_recipe --stage 13 --stop_stage 13 --bundles "" --latency_exps "${exps[*]}" \
        --latency_dir "exp/latency_${tag}" --latency_args "${latency_args}"
}

stage_8() {
    local exps
    find_trained
    "${python}" -m espnet2_supernet.bin.training_cost --expdir "${exps[@]/#/"${recipe}/"}"
    "${python}" -m espnet2_supernet.bin.report --expdir "${exps[@]/#/"${recipe}/"}" \
        --latency "${recipe}/exp/latency_${tag}/latency.json" --out "${recipe}/exp/RESULTS_${tag}.md"
}

run_stages
