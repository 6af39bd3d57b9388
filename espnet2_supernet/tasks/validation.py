"""Strict checks of a training configuration, before anything is built."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.samplers.build_batch_sampler import BATCH_TYPES
from espnet2.tasks.abs_task import optim_classes, scheduler_classes
from espnet2.train.class_choices import ClassChoices

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.train.checkpoint import load_weights

# What ESPnet's ASRTask.build_model passes itself; a user cannot.
_GIVEN: dict[str, set[str]] = {
    "encoder": {"input_size"},
    "ctc": {"odim", "encoder_output_size"},
    "preprocessor": set(
        "train token_type token_list bpemodel non_linguistic_symbols text_cleaner g2p_type rir_scp "
        "rir_apply_prob noise_scp noise_apply_prob noise_db_range short_noise_thres "
        "speech_volume_normalize aux_task_names use_lang_prompt use_nlp_prompt".split()
    ),
    "postencoder": {"input_size"},
    "decoder": {"vocab_size", "encoder_output_size"},
    "model": {
        "vocab_size",
        "token_list",
        "frontend",
        "specaug",
        "normalize",
        "preencoder",
        "encoder",
        "postencoder",
        "decoder",
        "ctc",
        "joint_network",
    },
}


def check_blocks(args: argparse.Namespace, tables: list[ClassChoices]) -> None:
    """Refuse unknown keys in every ``<name>_conf`` block.

    Args:
        args: Training options.
        tables: ESPnet's class tables (``--encoder``, ``--frontend``, ...).

    Raises:
        ConfigError: Naming the block, the key and the nearest valid key.
    """
    for table in tables:
        choice = getattr(args, table.name, None)
        conf = getattr(args, f"{table.name}_conf", None) or {}
        if choice is None:
            continue
        where = f"{table.name}_conf"
        if not isinstance(conf, Mapping):
            raise ConfigError(f"{where}: must be a mapping, got {conf!r}")
        if choice not in table.classes:
            check_keys([choice], table.classes, table.name)
        check_call(table.classes[choice], conf, where, _GIVEN.get(table.name, set()))
    check_call(CTC, getattr(args, "ctc_conf", None) or {}, "ctc_conf", _GIVEN["ctc"])


def check_call(
    class_: type,
    conf: Mapping[str, Any],
    where: str,
    given: set[str] | frozenset[str] = frozenset(),
) -> None:
    """Check the keys of a block against the constructor they are passed to.

    Args:
        class_: Class that is built.
        conf: Keyword arguments from the configuration.
        where: Name of the block, for messages.
        given: Arguments that are passed by code.

    Raises:
        ConfigError: If a key is unknown or a required one is missing.
    """
    parameters = inspect.signature(class_).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    valid = set(parameters) - given
    if not valid and conf:
        raise ConfigError(f"{where}: {class_.__name__} takes no options, got {', '.join(conf)}")
    check_keys(conf, valid, where)
    required = {name for name, p in parameters.items() if p.default is inspect.Parameter.empty}
    missing = sorted(required - given - set(conf))
    if missing:
        raise ConfigError(f"{where}: '{missing[0]}' is missing ({class_.__name__} needs it)")


def check_options(
    args: argparse.Namespace, statistics: Sequence[str], model_statistics: Sequence[str] = ()
) -> None:
    """Check the options of training that ESPnet would refuse late, or with a traceback.

    Args:
        args: Training options.
        statistics: What is reported of each subnet, for ``best_model_criterion``.
        model_statistics: What is reported of the model, likewise.

    Raises:
        ConfigError: Naming the option, and the nearest valid value or key.
        CheckpointError: If a file of ``init_param`` cannot be read.
    """
    check_keys([args.optim], optim_classes, "optim")
    if args.scheduler is not None:
        check_keys([args.scheduler], scheduler_classes, "scheduler")
        scheduler = scheduler_classes[args.scheduler]
        check_call(scheduler, args.scheduler_conf or {}, "scheduler_conf", {"optimizer"})
    check_keys([args.batch_type], BATCH_TYPES, "batch_type")
    for name in ("batch_size", "max_epoch", "accum_grad"):
        if getattr(args, name) < 1:
            raise ConfigError(f"{name}: a whole number of at least 1, not {getattr(args, name)}")
    if args.ngpu > 0 and not torch.cuda.is_available():
        raise ConfigError(f"ngpu: {args.ngpu}, but this machine has no usable GPU; use --ngpu 0")
    if getattr(args, "token_type", None) == "bpe" and not (
        args.bpemodel and Path(args.bpemodel).is_file()
    ):
        raise ConfigError(f"bpemodel: {args.bpemodel}: no such file; token_type bpe needs it")
    _check_criteria(args, statistics, model_statistics)
    _check_precision(args)
    for name in args.init_param or []:
        load_weights(str(name).split(":")[0])  # raises if it cannot be read


def _check_precision(args: argparse.Namespace) -> None:
    """Refuse gates under mixed precision: they learn from gradients as they come, scaled."""
    schedule = SupernetConfig.parse(getattr(args, "supernet_conf", None)).schedule
    if schedule.kind == "l0" and getattr(args, "use_amp", False):
        raise ConfigError(
            "use_amp: supernet_conf.schedule l0 learns gates from gradients that mixed precision "
            "scales; write use_amp: false"
        )


def _check_criteria(
    args: argparse.Namespace, statistics: Sequence[str], model_statistics: Sequence[str]
) -> None:
    """Refuse to rank epochs by a statistic that is never reported: nothing would be averaged."""
    # acc: in ESPnet's default, skipped where a model has none
    known = ["loss", "acc", *model_statistics]
    for subnet in SupernetConfig.parse(getattr(args, "supernet_conf", None)).subnets:
        known += [f"{kind}_{subnet}" for kind in statistics]
    for _phase, statistic, *_ in args.best_model_criterion:
        check_keys([statistic], known, "best_model_criterion")


def merge_supernet_conf(args: argparse.Namespace) -> SupernetConfig:
    """Make ``--supernet_conf`` and ``model_conf.supernet_conf`` the same.

    The table of subnets is written in ``supernet_conf``. A copy in ``model_conf`` lets ESPnet's
    own task rebuild the model from ``config.yaml``.

    Args:
        args: Training options; both entries are set to the complete table.

    Returns:
        The parsed table.

    Raises:
        ConfigError: If both are given and differ, or the table is invalid.
    """
    model_conf = dict(args.model_conf or {})
    own = getattr(args, "supernet_conf", None) or None
    copied = model_conf.get("supernet_conf") or None
    config = SupernetConfig.parse(own if own is not None else copied)
    if own is not None and copied is not None and SupernetConfig.parse(copied) != config:
        raise ConfigError(
            "supernet_conf and model_conf.supernet_conf differ; write supernet_conf only, "
            "model_conf.supernet_conf is filled in from it"
        )
    args.supernet_conf = config.to_dict()
    args.model_conf = {**model_conf, "supernet_conf": config.to_dict()}
    return config


def check_streamable(args: argparse.Namespace, config: SupernetConfig) -> None:
    """Refuse a normalisation that a streaming subnet cannot compute, or that cannot be known.

    Raises:
        ConfigError: If the features are learnt, ``utterance_mvn`` meets a streaming subnet, or
            ``global_mvn`` lacks its statistics.
    """
    streaming = [
        subnet.name
        for subnet in config.subnets.values()
        if not all(context.is_full for context in subnet.contexts)
    ]
    if args.normalize is not None and args.frontend == "waveform_conv":
        raise ConfigError(
            f"normalize: {args.normalize} of frontend waveform_conv: its features are learnt and "
            "have norms of their own; set normalize: none (--feats_normalize none in the recipes)"
        )
    if args.normalize == "utterance_mvn" and streaming:
        raise ConfigError(
            f"normalize: utterance_mvn sees the whole utterance, subnet '{streaming[0]}' is "
            "streaming; use global_mvn"
        )
    stats = (args.normalize_conf or {}).get("stats_file")
    if args.normalize == "global_mvn" and (stats is None or not Path(stats).is_file()):
        raise ConfigError(
            f"normalize_conf.stats_file: {stats if stats else 'not given'}: no such file; run "
            "the same command with --collect_stats true first, or set normalize: none"
        )


def check_token_list(args: argparse.Namespace) -> None:
    """Refuse a list of tokens that ESPnet would misread.

    Raises:
        ConfigError: If the file is missing, or ``<blank>`` is not the first token.
    """
    tokens = args.token_list
    if isinstance(tokens, str):
        if not Path(tokens).is_file():
            raise ConfigError(f"token_list: {tokens}: no such file")
        try:
            tokens = Path(tokens).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ConfigError(f"token_list: {tokens}: not UTF-8 text") from error
    tokens = [token.rstrip() for token in tokens]
    where = f"token_list: {args.token_list}" if isinstance(args.token_list, str) else "token_list"
    if len(tokens) < 3 or tokens[0] != "<blank>" or tokens[-1] != "<sos/eos>":
        raise ConfigError(
            f"{where}: must start with <blank> and end with <sos/eos>, has "
            f"{len(tokens)} tokens: {' '.join(tokens[:3])} ..."
        )
    if len(set(tokens)) < len(tokens):
        double = next(t for i, t in enumerate(tokens) if t in tokens[:i])
        raise ConfigError(f"{where}: token '{double}' is listed twice")
