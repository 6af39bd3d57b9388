# shellcheck shell=bash
# shellcheck disable=SC2154  # some variables are those of the calling script
# Helpers of the recipes; source it after `set -euo pipefail`.
#
#   log TEXT...                     one line with the time
#   die STATUS TEXT...              one line on stderr, then exit
#   needs FILE HINT               exit with the hint if FILE is missing
#   parse_options SCRIPT "$@"       --name value | --name=value, for the variables of SCRIPT's options block
#   wants STAGE                     is the stage selected by --stage, --stop_stage and --skip_stages?
#   run_stages                      stage_<number>, with its title of stage_titles, for each that is selected
#   keep_trained EXP...             set `trained` to those experiments that have averaged weights; log the others
#   only_file PATTERN HINT OPTION   name of the file that fits; exit with the hint, or a choice, if not just one
#   once MARK INPUTS OUTPUTS cmd... run cmd unless MARK is newer than INPUTS and came from the same cmd
#   run_jobs NJ LOG cmd...          NJ jobs side by side; {JOB} becomes 1..NJ
#   run_logged LOG cmd...           stderr to LOG, its end shown on failure; stdout (progress) to the screen
#   split_lines FILE NJ PREFIX      FILE in NJ runs of lines: PREFIX.1 .. PREFIX.NJ
#   jobs_for FILE LINES NJ          how many jobs FILE is worth

log() { echo "$(date '+%Y-%m-%d %H:%M:%S') $*"; }

die() {
    local status=$1
    shift
    echo "error: $*" >&2
    exit "${status}"
}

needs() { [ -e "$1" ] || die 1 "$1 is missing: $2"; }

# ---------------------------------------------------------------------------------- options

# The options of a script are the `name=value  # help` lines between its two `# options` marks.
_options_block() { sed -n '/^# options {/,/^# } options/p' "$1" | sed '1d;$d'; }
_option_names() { _options_block "$1" | sed -n 's/^\([a-z][a-z0-9_]*\)=.*/\1/p'; }

# Word of the list on stdin with the least edit distance to $1 (nothing when all are far off).
_nearest() {
    awk -v word="$1" '
        function min3(a, b, c) { if (b < a) a = b; return c < a ? c : a }
        function distance(s, t,   i, j, d) {
            for (i = 0; i <= length(s); i++) d[i, 0] = i
            for (j = 0; j <= length(t); j++) d[0, j] = j
            for (i = 1; i <= length(s); i++) for (j = 1; j <= length(t); j++)
                d[i, j] = min3(d[i - 1, j] + 1, d[i, j - 1] + 1,
                               d[i - 1, j - 1] + (substr(s, i, 1) != substr(t, j, 1)))
            return d[length(s), length(t)]
        }
        { score = distance(word, $0); if (NR == 1 || score < best) { best = score; nearest = $0 } }
        END { if (NR && best <= length(word) / 2 + 1) print nearest }'
}

_usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$1"
    echo "Options (name=default  # meaning):"
    _options_block "$1" | sed 's/^/  --/;s/^  --#/ #/'
}

_check_option() { # NAME OLD NEW: a new value must be of the default's kind
    case $2 in
        true | false)
            case $3 in
                true | false) ;;
                *) die 2 "--$1 must be true or false, not '$3'" ;;
            esac
            ;;
        *[!0-9]* | "") ;;
        *)
            case $3 in
                *[!0-9]* | "") die 2 "--$1 must be a whole number, not '$3'" ;;
            esac
            ;;
    esac
}

parse_options() {
    local script=$1 names name value hint
    shift
    names=$(_option_names "${script}")
    local -A defaults=()
    for name in ${names}; do defaults[${name}]=${!name}; done
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help)
                _usage "${script}"
                exit 0
                ;;
            --?*) ;;
            *) die 2 "unexpected argument '$1'; options look like --name value (see --help)" ;;
        esac
        name=${1%%=*}
        name=${name#--}
        name=${name//-/_}
        if [ -z "${defaults[${name}]+set}" ]; then
            hint=$(_nearest "${name}" <<<"${names}")
            [ -z "${hint}" ] || hint="did you mean '--${hint}'? "
            die 2 "unknown option '--${name}'; ${hint}see --help"
        fi
        if [[ $1 == *=* ]]; then
            value=${1#*=}
            shift
        else
            [ $# -ge 2 ] || die 2 "option '--${name}' has no value"
            value=$2
            if [[ ${value} =~ ^--([a-z][a-z0-9_]*)$ && -n ${defaults[${BASH_REMATCH[1]}]+set} ]]; then
                die 2 "option '--${name}' has no value: '${value}' is the next option"
            fi
            shift 2
        fi
        _check_option "${name}" "${defaults[${name}]}" "${value}"
        printf -v "${name}" '%s' "${value}"
    done
}

# ----------------------------------------------------------------------------------- stages

wants() {
    [ "$1" -ge "${stage}" ] && [ "$1" -le "${stop_stage}" ] && [[ " ${skip_stages} " != *" $1 "* ]]
}

run_stages() {
    local number
    for number in "${!stage_titles[@]}"; do
        wants "${number}" || continue
        log "Stage ${number}: ${stage_titles[number]}"
        "stage_${number}"
    done
    log "Done in ${SECONDS} s."
}

keep_trained() {
    local exp
    trained=()
    for exp in "$@"; do
        if compgen -G "${exp}/valid.*.ave.pth" >/dev/null; then trained+=("${exp}"); else log "  not trained, left out: ${exp}"; fi
    done
}

only_file() { # to be assigned to a variable without `local`: then its failure stops the script
    # shellcheck disable=SC2206  # a pattern
    local found=($1)
    [ -f "${found[0]}" ] || die 1 "${found[0]} is missing: $2"
    [ "${#found[@]}" -eq 1 ] || die 1 "choose $3 from: ${found[*]##*/}"
    echo "${found[0]##*/}"
}

# Command line without what cannot change the result: how many jobs, devices and nodes share it.
_once_key() {
    printf '%q ' "$@" | sed -E 's/ --(nj|ngpu|num_nodes|num_workers|multiprocessing_distributed) [^ ]+//g'
    echo
}

_up_to_date() { # MARK KEY INPUTS OUTPUTS
    local file
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ] || return 1
    for file in $3; do
        if [ "${file}" -nt "$1" ]; then return 1; fi
    done
    for file in $4; do
        if [ ! -e "${file}" ]; then return 1; fi
    done
}

# INPUTS and OUTPUTS are words of paths. Call it plainly (not in `if` or before `||`): a failing
# command must stop the script through `set -e`.
once() {
    local mark=$1 inputs=$2 outputs=$3 key file
    shift 3
    for file in ${inputs}; do
        needs "${file}" "run the stage that makes it first"
    done
    key=$(_once_key "$@")
    if [ "${force:-false}" = false ] && _up_to_date "${mark}" "${key}" "${inputs}" "${outputs}"; then
        log "  up to date: ${mark%/.done*} (--force true makes it anew)"
        return 0
    fi
    rm -f "${mark}"
    "$@"
    for file in ${outputs}; do
        [ -e "${file}" ] || die 1 "$1 ended without making ${file}"
    done
    mkdir -p "$(dirname "${mark}")"
    printf '%s\n' "${key}" >"${mark}.part"
    mv "${mark}.part" "${mark}"
}

# ------------------------------------------------------------------------------------- jobs

_show_failure() { # LOG
    {
        echo "error: a command failed; the end of its log ($1):"
        tail -n 25 "$1" | cut -c1-300 | sed 's/^/    /'
    } >&2
}

# The cluster wrappers write the job number as JOB, so {JOB} is handed to them as that.
_run_jobs_on_cluster() {
    local nj=$1 log=${2//\{JOB\}/JOB}
    shift 2
    # shellcheck disable=SC2086  # decode_cmd is a command with options (cmd.sh)
    ${decode_cmd} "JOB=1:${nj}" "${log}" "${@//\{JOB\}/JOB}"
}

run_jobs() {
    local nj=$1 log=$2 job failed=0 pids=()
    shift 2
    mkdir -p "$(dirname "${log}")"
    if [ "${cmd_backend:-local}" != local ]; then
        _run_jobs_on_cluster "${nj}" "${log}" "$@"
        return
    fi
    # shellcheck disable=SC2064  # background jobs of a script do not get the terminal's Ctrl-C
    trap 'kill "${pids[@]}" 2>/dev/null; exit 130' INT TERM
    for ((job = 1; job <= nj; job++)); do
        OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(threads_per_job "${nj}")} \
            "${@//\{JOB\}/${job}}" >"${log//\{JOB\}/${job}}" 2>&1 </dev/null &
        pids+=($!)
    done
    for ((job = 1; job <= nj; job++)); do
        if ! wait "${pids[job - 1]}"; then
            failed=$((failed + 1))
            [ "${failed}" -gt 1 ] || _show_failure "${log//\{JOB\}/${job}}"
        fi
    done
    trap - INT TERM
    [ "${failed}" -eq 0 ] || die 1 "${failed} of ${nj} jobs failed"
}

threads_per_job() { # NJ: the cores shared out, at least one each
    local cores
    cores=$(nproc)
    echo $((cores > $1 ? cores / $1 : 1))
}

# Standard output is the progress and stays on the screen; standard error is the log (appended to).
run_logged() {
    local log=$1 status=0
    shift
    mkdir -p "$(dirname "${log}")"
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(threads_per_job 1)} "$@" </dev/null 2>>"${log}" || status=$?
    if [ "${status}" -ne 0 ]; then
        _show_failure "${log}"
        exit "${status}"
    fi
}

split_lines() {
    local file=$1 nj=$2 prefix=$3
    mkdir -p "$(dirname "${prefix}")"
    rm -f "${prefix}".*
    awk -v nj="${nj}" -v total="$(wc -l <"${file}")" -v prefix="${prefix}" \
        '{ print > (prefix "." int((NR - 1) * nj / total) + 1) }' "${file}"
}

jobs_for() { # FILE LINES NJ: one job per so many LINES of FILE, at most NJ
    local jobs
    jobs=$((($(wc -l <"$1") + $2 - 1) / $2))
    [ "${jobs}" -gt 0 ] || die 1 "$1 is empty"
    echo $((jobs < $3 ? jobs : $3))
}
