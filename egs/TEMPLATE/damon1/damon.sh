#!/usr/bin/env bash
# S6-DAMON: a trained recogniser that computes fewer frames (SALAD) or has fewer units (SAFARI).
#
#   stage  what it does
#   1      teacher: data and the dense recogniser, by the supernet recipe
#   2      SALAD labels: the teacher's frame labels, with statistics of their runs
#   3      SALAD detector: training on the labels
#   4      SALAD threshold: chosen on the validation set for a keep ratio, or for a recall
#   5      SALAD fine-tuning: from the teacher, with frames dropped by each rule of --tokens
#   6      evaluation: extract, decode and score each of them; one table
#   7      SAFARI pruning: from the dense teacher, by each method of --pruning
#   8      SAFARI evaluation: extract smaller models, decode and score each; one table
#   9      comparison: the speed of the teacher and of all these, in turns; one table
#
# Data, statistics, decoding and scoring are those of the supernet recipe (--supernet_dir).
# Every stage skips what is up to date and can be run alone: --stage 4 --stop_stage 4.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./supernet_scripts/common.sh
. ./supernet_scripts/training.sh
. ./scripts/salad.sh
. ./scripts/safari.sh

# options {
# Stages
stage=1      # first stage
stop_stage=9 # last stage
skip_stages="" # numbers to leave out
force=false  # redo what is up to date
# Machines
ngpu=0         # GPUs for training; 0 trains on the CPU
nj=0           # parallel jobs; 0: one per core
python=python3 # Python command
expdir=exp     # labels, detector, experiments, results
# Teacher
supernet_dir=../supernet1 # recipe that has the data and the teacher
supernet_args=""          # options of its run.sh, for every call
teacher_exp=""            # experiment of the teacher; relative to supernet_dir
teacher_model=""          # checkpoint in it; default: its valid.*.ave.pth
teacher_subnet=server     # whose labels are wanted
train_set=""              # its training set, as dumped (with _sp, if perturbed)
valid_set=""              # its validation set
# SALAD
salad_train_dir=""               # folder with wav.scp to learn from, with or without text; default: the training set
salad_config=conf/detector.yaml  # configuration of the detector
salad_args=""                    # options of salad_train that win over the configuration
salad_target="--keep_ratio 0.6"  # what the threshold is chosen for; or "--recall 0.98", "--run_recall 0.98"
# Fine-tuning with dropping
asr_config=conf/train.yaml       # configuration, its table without tokens
asr_args=""                      # options of asr_train that win over the configuration
tokens="salad none"              # rules, e.g. "salad downsample:factor=2 random:keep_ratio=0.5 energy:threshold=-0.5 none"
token_subnets="server device"    # subnets that drop frames
# Structured pruning
pruning=""                       # methods: files of --pruning_conf, or small, e.g. "safari omp imp parp_masked l0 small"
pruning_conf=conf/pruning        # their tables of subnets; small: a dense model of equal size from scratch
pruning_sparsity=0.5             # fraction of the weights of units to prune
pruning_tokens=none              # rules that every method is trained with, as in --tokens, e.g. "none salad"
# Evaluation
check_streaming=true             # stages 6 and 8 also check that streamed equals masked
latency_args=""                  # stage 9: options of latency, e.g. "--num_utts 50 --memory_utts 0 --rows torch_fp32"
against=""                       # stage 9: experiments in expdir to test all others against, besides the teacher
more_exps=""                     # stage 9: experiments of supernet_dir to compare, too, e.g. the lower frame rate
# } options
parse_options "${BASH_SOURCE[0]##*/}" "$@"
. ./path.sh
. ./cmd.sh

stage_titles=([1]="teacher" "SALAD labels" "SALAD detector" "SALAD threshold" "SALAD fine-tuning"
    "evaluation" "SAFARI pruning" "SAFARI evaluation" "comparison")

# ------------------------------------------------------------------------- names and checks

[ "${stage}" -le "${stop_stage}" ] || die 2 "--stage ${stage} is after --stop_stage ${stop_stage}"
for name in teacher_exp train_set valid_set; do
    [ -n "${!name}" ] || die 2 "--${name} is empty (run ./run.sh, which knows the names of its corpus)"
done
[ -x "${supernet_dir}/run.sh" ] || die 2 "--supernet_dir: ${supernet_dir} has no run.sh"
[ "${nj}" -gt 0 ] || nj=$(nproc)
supernet_dir=$(cd "${supernet_dir}" && pwd)
mkdir -p "${expdir}"
expdir=$(cd "${expdir}" && pwd)
raw=${supernet_dir}/dump/raw
case ${teacher_exp} in /*) ;; *) teacher_exp=${supernet_dir}/${teacher_exp} ;; esac
salad_train_dir=${salad_train_dir:-${raw}/${train_set}}
label_dir=${expdir}/salad_labels_$(basename "${teacher_exp}")_${teacher_subnet}
salad_exp=${expdir}/$(basename "${salad_config}" .yaml)_$(basename "${salad_train_dir}")$(tr -d ' /|=' <<<"${salad_args//--/_}")
salad_stats_dir=${expdir}/salad_stats_$(basename "${salad_train_dir}")
detector=${salad_exp}/detector$(tr -d ' ' <<<"${salad_target//--/_}")

bin() { "${python}" -m "espnet2_supernet.bin.$1" "${@:2}"; }
in_dir() { local f; for f in $2; do echo "$1/$f"; done; } # DIR "a b" -> DIR/a DIR/b
# shellcheck disable=SC2086  # options
supernet() { (cd "${supernet_dir}" && ./run.sh --python "${python}" --ngpu "${ngpu}" ${supernet_args} "$@"); }

find_teacher() { # sets teacher_model to a name in teacher_exp
    teacher_model=$(only_file "${teacher_exp}/${teacher_model:-valid.*.ave.pth}" "run stage 1 first" --teacher_model)
}

# ------------------------------------------------------------------------------------ stages

evaluate() { # CONFIG EXP
    supernet --stage 10 --stop_stage 12 --force "${force}" --check_streaming "${check_streaming}" \
        --asr_config "$1" --asr_exp "$2"
}

stage_1() { # what the teacher's stages have made is up to date there
    supernet --stop_stage 9
}

stage_9() { # the teacher is the reference
    local exps others trained
    find_teacher
    mapfile -t others < <(in_dir "${expdir}" "${against}")
    mapfile -t exps < <(each_rule rule_exp && each_pruned method_exp && in_dir "${supernet_dir}" "${more_exps}")
    keep_trained "${exps[@]}"
    exps=("${teacher_exp}" "${trained[@]}")
    log "  the teacher" # named as its own recipe does, so that what that has made is up to date
    supernet --stage 10 --stop_stage 12 --asr_exp "${teacher_exp#"${supernet_dir}/"}"
    log "  speed of ${#exps[@]} experiments: run nothing else meanwhile"
    supernet --stage 13 --stop_stage 13 --force "${force}" --latency_exps "${exps[*]}" \
        --latency_dir "${expdir}/latency" --latency_args "${latency_args}"
    bin report --expdir "${exps[@]}" --latency "${expdir}/latency/latency.json" --out "${expdir}/RESULTS_ALL.md" \
        --against "${teacher_exp}" "${others[@]}"
    cat "${expdir}/RESULTS_ALL.md"
}

# -------------------------------------------------------------------------------------- main

run_stages
