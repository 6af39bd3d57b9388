# shellcheck shell=bash
# How jobs are started. Choose with the environment variable cmd_backend:
#   local   on this machine (default)
#   slurm   slurm.pl of an ESPnet checkout; options in conf/slurm.conf
#   sge     queue.pl of an ESPnet checkout; options in conf/queue.conf
# Both wrappers are looked for in ${ESPNET_ROOT}/egs2/TEMPLATE/asr1/utils.
# train_cmd: short CPU jobs, cuda_cmd: training, decode_cmd: decoding and statistics.
cmd_backend=${cmd_backend:-local}

_cluster_cmd() { # WRAPPER CONF
    local wrapper=${ESPNET_ROOT:-}/egs2/TEMPLATE/asr1/utils/$1
    if [ ! -x "${wrapper}" ]; then
        echo "error: cmd_backend=${cmd_backend} needs $1 of an ESPnet checkout:" \
            "set ESPNET_ROOT (looked for '${wrapper}')" >&2
        return 1
    fi
    echo "${wrapper}$([ ! -f "$2" ] || echo " --config $2")"
}

case ${cmd_backend} in
    local)
        train_cmd="" cuda_cmd="" decode_cmd=""
        ;;
    slurm | sge)
        case ${cmd_backend} in
            slurm) train_cmd=$(_cluster_cmd slurm.pl conf/slurm.conf) || exit 1 ;;
            sge) train_cmd=$(_cluster_cmd queue.pl conf/queue.conf) || exit 1 ;;
        esac
        cuda_cmd=${train_cmd}
        decode_cmd=${train_cmd}
        ;;
    *)
        echo "error: cmd_backend must be local, slurm or sge, not '${cmd_backend}'" >&2
        exit 2
        ;;
esac
export cmd_backend train_cmd cuda_cmd decode_cmd
