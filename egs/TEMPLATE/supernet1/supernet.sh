#!/usr/bin/env bash
# The main recipe: one supernet from raw audio to the table of its subnets.
#
#   stage  what it does
#   1      data preparation: local/data.sh makes data/<set>
#   2      speed perturbation of the training set (off by default)
#   3      format: check the audio, make dump/raw
#   4      filter: remove too long, too short and empty utterances from training and validation
#   5      token list
#   6      SSL statistics (off by default)
#   7      SSL pre-training without text (off by default)
#   8      ASR statistics
#   9      supernet training, with pruning while it trains
#   10     prune and extract: each subnet as a model of its own, streaming ones as bundles, too
#   11     decode: every subnet in its mode
#   12     score: sclite, intervals, the table, RESULTS.md
#   13     latency: speed, memory and token emission delay; RESULTS.md again
#   14     pack (off by default)
#   15     upload (not built yet)
#
# Every stage skips what is up to date and can be run alone: --stage 12 --stop_stage 12.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./scripts/common.sh
. ./scripts/data.sh
. ./scripts/training.sh
. ./scripts/evaluation.sh
command_line="./supernet.sh $(printf '%q ' "$@")"

# options {
# Stages
stage=1              # first stage
stop_stage=15        # last stage
skip_stages=""       # numbers to leave out, e.g. "2 4"
skip_data_prep=false # leave out stages 1-5
skip_train=false     # leave out stages 6-10
skip_eval=false      # leave out stages 11-13
skip_packing=true    # leave out stage 14 unless it is the only one asked for
force=false          # redo what is up to date; an earlier experiment is kept as <asr_exp>.old.<date>
# Machines
ngpu=0               # GPUs per node for training; 0 trains on the CPU
num_nodes=1          # nodes for training; more than one needs cmd_backend=slurm|sge or --dist_launcher
dist_launcher=""     # slurm|mpi: start the nodes with srun|mpirun inside an allocation that you hold
nj=0                 # parallel jobs for data and statistics; 0: one per core
inference_nj=0       # parallel jobs for decoding; 0: one per core
python=python3       # Python command
dumpdir=dump         # formatted data
expdir=exp           # statistics, models, decoded text, results
# Data
local_data_opts=""        # options for local/data.sh
lang=en                   # language; names the token list and the statistics
train_set=""              # name of the training set; none: pre-training only, no text is needed
valid_set=""              # name of the validation set
test_sets=""              # names of the test sets
label_fraction=""         # e.g. 0.1: train with the labels of this part of each speaker's utterances
speed_perturb_factors=""  # e.g. "0.9 1.0 1.1"
fs=16k                    # sampling rate; audio of another rate is an error
audio_format=auto         # auto (keep flac and wav as they are), flac or wav
min_wav_duration=0.1      # seconds; shorter training utterances are removed
max_wav_duration=20.0     # seconds; longer training utterances are removed
# Tokens
token_type=bpe  # bpe, char or word
nbpe=500        # number of BPE tokens
bpemode=unigram # unigram or bpe
nlsyms=""       # symbols kept whole, e.g. "<noise>"
# Pre-training
use_ssl=false                     # stages 6 and 7; stage 9 then starts from the pre-trained encoder
ssl_config=conf/train_ssl.yaml    # configuration of pre-training, with its supernet_conf block
ssl_args=""                       # options of ssl_train that win over the configuration
ssl_tag=""                        # name of the pre-training; default: from configuration and data
ssl_train_sets=""                 # sets of data/, of which no text is read; default: the training set
ssl_stats_dir=""                  # default: <expdir>/ssl_stats_raw_<ssl_train_sets>
ssl_exp=""                        # default: <expdir>/ssl_<ssl_tag>; given alone: start stage 9 from it
ssl_model=""                      # checkpoint in ssl_exp; default: its valid.*.ave.pth
ssl_masks=reset                   # masks of pre-training in stage 9: reset, carry or freeze
# Training
asr_config=conf/train.yaml   # training configuration, with its supernet_conf block
asr_args=""                  # options of asr_train that win over the configuration
train_command=asr_train      # asr_train, or encrl_train: copy a teacher (--asr_args "--teacher_model_file ...")
encrl_train_dir=""           # encrl_train: folder with wav.scp to learn from, with or without text; default: the training set
asr_tag=""                   # name of the experiment; default: from configuration and tokens
asr_stats_dir=""             # default: <expdir>/asr_stats_raw_<lang>_<tokens>
asr_exp=""                   # default: <expdir>/asr_<asr_tag>
feats_normalize=global_mvn   # global_mvn, utterance_mvn or none
# Decoding and scoring
inference_config=conf/decode.yaml        # decoding configuration
inference_args=""                        # options of asr_inference that win over the configuration
inference_tag=""                         # default: from the configuration's name and inference_args
inference_asr_model=""                   # checkpoint in asr_exp; default: its valid.*.ave.pth
subnets=""                               # subnets to extract, decode and score; empty: all
check_streaming=false                    # stage 11 also checks that streamed equals masked on the validation set
check_streaming_args=""                  # options of check_streaming, e.g. "--max_utts 20"
bundles="fp32 int8"                      # bundles of streaming subnets, for devices without torch; empty: none
latency_args=""                          # options of latency, e.g. "--num_utts 100"
latency_exps=""                          # stage 13 measures these experiments in turns, not asr_exp alone
latency_dir=""                           # its results; default: <asr_exp>/latency
score_args=""                            # options of score, e.g. "--scorer python"
# } options
parse_options "${BASH_SOURCE[0]##*/}" "$@"
. ./path.sh
. ./db.sh
. ./cmd.sh

stage_titles=([1]="data preparation" "speed perturbation" "format" "filter" "token list"
    "SSL statistics" "SSL pre-training" "ASR statistics" "supernet training" "prune and extract"
    "decode" "score" "latency" "pack" "upload")
unbuilt_stages="15"

# ------------------------------------------------------------------------- names and checks

[ -n "${train_set}${ssl_train_sets}" ] || die 2 "--train_set is empty (run ./run.sh, which knows the sets of its corpus)"
[ -n "${valid_set}" ] || die 2 "--valid_set is empty"
[ -n "${test_sets}" ] || [ -z "${train_set}" ] || die 2 "--test_sets is empty"
[ "${stage}" -le "${stop_stage}" ] || die 2 "--stage ${stage} is after --stop_stage ${stop_stage}"
case ${ssl_masks} in reset | carry | freeze) ;; *) die 2 "--ssl_masks must be reset, carry or freeze" ;; esac
case ${train_command} in asr_train | encrl_train) ;; *) die 2 "--train_command must be asr_train or encrl_train" ;; esac
[ -z "${encrl_train_dir}" ] || [ "${train_command}" = encrl_train ] || die 2 "--encrl_train_dir needs --train_command encrl_train"
case ${dist_launcher} in "" | slurm | mpi) ;; *) die 2 "--dist_launcher must be slurm or mpi" ;; esac
! "${skip_data_prep}" || skip_stages+=" 1 2 3 4 5"
! "${skip_train}" || skip_stages+=" 6 7 8 9 10"
! "${skip_eval}" || skip_stages+=" 11 12 13"
[ "${nj}" -gt 0 ] || nj=$(nproc)
[ "${inference_nj}" -gt 0 ] || inference_nj=$(nproc)

"${python}" -c 'import importlib.util; raise SystemExit(importlib.util.find_spec("espnet2") is None)' ||
    die 1 "ESPnet is not installed for ${python}: run local/setup.sh at the root of the repository"
raw=${dumpdir}/raw
name_sets
case ${token_type} in
    bpe) tokens=bpe_${bpemode}${nbpe} ;;
    char | word) tokens=${token_type} ;;
    *) die 2 "--token_type must be bpe, char or word, not '${token_type}'" ;;
esac
tokens+=${label_fraction:+_labels${label_fraction}}
token_dir=data/${lang}_token_list/${tokens}
suffix=raw_${lang}_${tokens}${speed_perturb_factors:+_sp}
ssl_tag=${ssl_tag:-$(basename "${ssl_config}" .yaml)_raw_${ssl_data}$(tr -d ' /|=' <<<"${ssl_args//--/_}")}
ssl_stats_dir=${ssl_stats_dir:-${expdir}/ssl_stats_raw_${ssl_data}}
starts_from_ssl=$([ -n "${ssl_exp}" ] && echo true || echo "${use_ssl}")
ssl_exp=${ssl_exp:-${expdir}/ssl_${ssl_tag}}
if [ -z "${asr_tag}" ]; then
    asr_tag=$(basename "${asr_config}" .yaml)_${suffix}$(tr -d ' /|=' <<<"${asr_args//--/_}")
    ! "${starts_from_ssl}" || asr_tag+=_from_$(basename "${ssl_exp}")_masks_${ssl_masks}
fi
asr_stats_dir=${asr_stats_dir:-${expdir}/asr_stats_${suffix}}
encrl_stats_dir=${asr_stats_dir}_encrl_$(basename "${encrl_train_dir}")
asr_exp=${asr_exp:-${expdir}/asr_${asr_tag}}
if [ -z "${inference_tag}" ]; then
    inference_tag=$(basename "${inference_config}" .yaml)$(tr -d ' /|=' <<<"${inference_args//--/_}")
    inference_tag=${inference_tag#decode}
fi
[ -z "${inference_asr_model}" ] || inference_tag+=_asr_model_${inference_asr_model%.pth}
inference_tag=${inference_tag#_}
token_options=(--token_type "${token_type}" --token_list "${token_dir}/tokens.txt")
[ "${token_type}" != bpe ] || token_options+=(--bpemodel "${token_dir}/bpe.model")
data_options=(
    --train_data_path_and_name_and_type "${raw}/${train_set}/wav.scp,speech,sound"
    --train_data_path_and_name_and_type "${raw}/${train_set}/text,text,text"
    --valid_data_path_and_name_and_type "${raw}/${valid_set}/wav.scp,speech,sound"
    --valid_data_path_and_name_and_type "${raw}/${valid_set}/text,text,text")

bin() { "${python}" -m "espnet2_supernet.bin.$1" "${@:2}"; }
in_dir() { local f; for f in $2; do echo "$1/$f"; done; } # DIR "a b" -> DIR/a DIR/b

# -------------------------------------------------------------------------------------- main

for number in "${!stage_titles[@]}"; do
    wants "${number}" || continue
    alone=$([ "${stage}" -eq "${stop_stage}" ] && echo true || echo false)
    if [[ " ${unbuilt_stages} " == *" ${number} "* ]]; then
        ! "${alone}" || die 1 "stage ${number} (${stage_titles[number]}) is not built yet"
        log "Stage ${number}: ${stage_titles[number]}: not built yet, skipped"
    elif [[ "6 7" == *"${number}"* ]] && ! "${use_ssl}" && ! "${alone}"; then
        log "Stage ${number}: ${stage_titles[number]}: skipped (--use_ssl true pre-trains)"
    elif [ "${number}" = 14 ] && "${skip_packing}" && ! "${alone}"; then
        log "Stage 14: ${stage_titles[14]}: skipped (--skip_packing false packs)"
    else
        log "Stage ${number}: ${stage_titles[number]}"
        "stage_${number}"
    fi
done
log "Done in ${SECONDS} s."
