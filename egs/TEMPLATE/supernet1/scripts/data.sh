# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # variables are options of supernet.sh, which sources this file
# Stages 1 to 5: data. Labelled sets are dumped to <dumpdir>/raw; sets of which pre-training takes the
# audio only to <dumpdir>/audio, without text. The whole training set is dumped once and serves both.

name_sets() { # what stages 1 to 9 read and make, from the options
    local name sp=${speed_perturb_factors:+_sp} takes_whole=${use_ssl}
    corpus_train_set=${train_set} # as local/data.sh makes it
    whole_train_set=${train_set}${sp}
    train_set=${train_set}${label_fraction:+_labels${label_fraction}}${sp} # that of stages 5, 8 and 9
    labelled_sets="${train_set} ${valid_set} ${test_sets}"
    audio_sets=""
    ssl_valid_dir=${raw}/${valid_set}
    if [ -z "${corpus_train_set}" ]; then # pre-training only
        use_ssl=true whole_train_set="" labelled_sets="" audio_sets=${valid_set}
        ssl_valid_dir=${dumpdir}/audio/${valid_set}
        skip_stages+=" 5 8 9 10 11 12 13 14 15"
    fi
    [ -z "${ssl_train_sets}" ] || takes_whole=true
    ssl_train_sets=${ssl_train_sets:-${whole_train_set}}
    ssl_train_dirs=()
    for name in ${ssl_train_sets}; do
        if [ "${name}" = "${whole_train_set}" ]; then
            ssl_train_dirs+=("${raw}/${name}")
            ! "${takes_whole}" || labelled_sets+=" ${name}"
        else
            ssl_train_dirs+=("${dumpdir}/audio/${name}")
            audio_sets+=" ${name}"
        fi
    done
    ssl_data=$(printf '+%s' "${ssl_train_dirs[@]##*/}")
    ssl_data=${ssl_data#+} # one name for all
    ssl_train_dir=${dumpdir}/audio/${ssl_data}
    [ "${#ssl_train_dirs[@]}" -gt 1 ] || ssl_train_dir=${ssl_train_dirs[0]}
}

# Call COMMAND NAME DUMP_DIR FILES OPTIONS... for every set.
each_set() { # COMMAND
    local name
    # shellcheck disable=SC2086  # words
    for name in $(printf '%s\n' ${labelled_sets} | sort -u); do
        "$1" "${name}" "${raw}" "wav.scp text utt2spk spk2utt"
    done
    # shellcheck disable=SC2086
    for name in $(printf '%s\n' ${audio_sets} | sort -u); do
        "$1" "${name}" "${dumpdir}/audio" wav.scp --audio_only true
    done
}

# A test set is never filtered: one that is also the validation set is read from before the filter.
is_filtered() { # NAME DUMP_DIR
    [[ $2 != "${raw}" || " ${train_set} ${whole_train_set} ${valid_set} " == *" $1 "* ]]
}
formatted_dir() { if is_filtered "$1" "$2"; then echo "$2/org/$1"; else echo "$2/$1"; fi; } # NAME DUMP_DIR
test_dir() { formatted_dir "$1" "${raw}"; }                                                 # NAME

# The set without its copies at other speeds, which stage 2 makes.
without_speeds() { if [ -n "${speed_perturb_factors}" ]; then echo "${1%_sp}"; else echo "$1"; fi; } # NAME

validate_set() { # NAME DUMP_DIR FILES OPTIONS...
    bin data validate --in "data/$(without_speeds "$1")" "${@:4}"
}

stage_1() { # local/data.sh knows when its corpus is up to date
    local part=${corpus_train_set}_labels${label_fraction}
    # shellcheck disable=SC2086  # words
    force=${force} nj=${nj} python=${python} local/data.sh ${local_data_opts}
    [ -z "${label_fraction}" ] || once "data/${part}/.done" "data/${corpus_train_set}/text" "data/${part}/text" \
        bin data subset --in "data/${corpus_train_set}" --out "data/${part}" --fraction "${label_fraction}"
    each_set validate_set
}

perturb_set() { # NAME DUMP_DIR FILES OPTIONS...
    local plain
    plain=$(without_speeds "$1")
    [ "${plain}" != "$1" ] || return 0
    # shellcheck disable=SC2086
    once "data/$1/.done" "$(in_dir "data/${plain}" "$3")" "data/$1/wav.scp" \
        bin data perturb_speed --in "data/${plain}" --out "data/$1" \
        --factors ${speed_perturb_factors} --nj "${nj}" "${@:4}"
}

stage_2() {
    [ -n "${speed_perturb_factors}" ] || { log "  nothing to do: no --speed_perturb_factors" && return; }
    each_set perturb_set
}

format_set() { # NAME DUMP_DIR FILES OPTIONS...
    local out
    out=$(formatted_dir "$1" "$2")
    once "${out}/.done" "$(in_dir "data/$1" "$3")" "$(in_dir "${out}" "$3 utt2num_samples")" \
        bin data format --in "data/$1" --out "${out}" --fs "${fs/%k/000}" \
        --audio_format "${audio_format}" --nj "${nj}" "${@:4}"
}

stage_3() { each_set format_set; }

filter_set() { # NAME DUMP_DIR FILES OPTIONS...
    is_filtered "$1" "$2" || return 0
    once "$2/$1/.done" "$(in_dir "$2/org/$1" "$3 utt2num_samples")" "$(in_dir "$2/$1" "$3 utt2num_samples")" \
        bin data filter --in "$2/org/$1" --out "$2/$1" \
        --min_duration "${min_wav_duration}" --max_duration "${max_wav_duration}" "${@:4}"
}

stage_4() {
    each_set filter_set
    [ "${#ssl_train_dirs[@]}" -gt 1 ] || return 0
    once "${ssl_train_dir}/.done" "${ssl_train_dirs[*]/%//wav.scp}" "${ssl_train_dir}/wav.scp" \
        bin data combine --audio_only true --in "${ssl_train_dirs[@]}" --out "${ssl_train_dir}"
}

stage_5() {
    local extra=()
    [ "${token_type}" != bpe ] || extra+=(--nbpe "${nbpe}" --bpemode "${bpemode}")
    # shellcheck disable=SC2206  # words
    [ -z "${nlsyms}" ] || extra+=(--nlsyms ${nlsyms})
    once "${token_dir}/.done" "${raw}/${train_set}/text" "${token_dir}/tokens.txt" \
        bin data tokens --text "${raw}/${train_set}/text" --out "${token_dir}" \
        --token_type "${token_type}" "${extra[@]}"
    bin data validate --in "${raw}/${train_set}" "${raw}/${valid_set}" "${token_options[@]}"
}
