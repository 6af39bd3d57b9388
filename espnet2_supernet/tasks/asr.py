"""Speech recognition with a supernet, as an ESPnet task."""

from __future__ import annotations

import argparse
import difflib
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import torch
import yaml
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.tasks.abs_task import optim_classes
from espnet2.tasks.asr import ASRTask
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.registry import register
from espnet2_supernet.tasks import loading, validation
from espnet2_supernet.tasks.training_data import (
    check_training_data,
    checked_sounds,
    sampling_rate,
)
from espnet2_supernet.train.checkpoint import check_same_model
from espnet2_supernet.train.trainer import SupernetTrainer

register()  # at import: a worker that ESPnet spawns imports this module and nothing else


def plot_layer_sparsity(report: Mapping[str, float], path: Path) -> None:
    """Draw the sparsity of every layer; see :mod:`espnet2_supernet.report.plots`."""
    from espnet2_supernet.report import plots  # matplotlib is slow to import

    plots.plot_layer_sparsity(dict(report), path)


class SupernetASRTrainer(SupernetTrainer):
    """The trainer, with plots."""

    layer_plot = staticmethod(plot_layer_sparsity)


class SupernetASRTask(ASRTask):
    """ESPnet's ASR task with our encoder, front-end and model as defaults.

    New option: ``--supernet_conf``, the table of subnets. Unknown keys in any block are errors.
    """

    trainer = SupernetASRTrainer

    @classmethod
    def get_parser(cls):
        """Return ESPnet's parser; its errors name the nearest valid option."""
        parser = super().get_parser()
        parser.error = functools.partial(_error_with_hint, parser)
        return parser

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add ESPnet's options and ours."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Supernet related")
        group.add_argument(
            "--supernet_conf",
            action=NestedDictAction,
            default={},
            help="The table of subnets: subnets, schedule, loss_weights, layer_norm, "
            "distillation, sampling, sequential_backward. E.g. --supernet_conf "
            '"{subnets: {server: {context: full}}}"',
        )
        group.add_argument(
            "--onednn_matmul",
            type=str2bool,
            default=False,
            help="Training on a CPU: let oneDNN multiply matrices, on an EPYC core 2.3 times "
            "faster products and 1.4 times faster steps; oneDNN may round the factors to bfloat16 "
            "on CPUs with AMX",
        )
        parser.set_defaults(
            encoder="supernet_conformer",
            frontend="log_mel",
            model="supernet",
            normalize=None,  # ESPnet's default, utterance_mvn, cannot stream
            num_att_plot=0,
        )

    @classmethod
    def print_config(cls, file: TextIO | None = None) -> None:
        """Print the default configuration as YAML.

        Args:
            file: Where to; standard output when None (ESPnet binds it at import).
        """
        super().print_config(sys.stdout if file is None else file)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train, or collect statistics, in this process; the options are ESPnet's and ours.

        Raises:
            SupernetError: If the configuration, the data or a checkpoint cannot be used.
        """
        validation.check_token_list(args)
        validation.check_options(args)
        check_training_data(args)
        if getattr(args, "onednn_matmul", False):
            # "bf16" allows oneDNN; without AMX it still computes in float32
            torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        with checked_sounds(sampling_rate(args)):
            super().main_worker(args)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetASRModel:
        """Check the configuration and build the model.

        Args:
            args: Options; ``supernet_conf`` is completed and copied into ``model_conf``.

        Returns:
            The model.

        Raises:
            ConfigError: If the configuration cannot be used.
        """
        if getattr(args, "collect_stats", False):
            args.normalize, args.normalize_conf = None, {}  # what it would read is being made
        if args.model == "supernet":
            config = validation.merge_supernet_conf(args)
            validation.check_streamable(args, config)
        elif getattr(args, "supernet_conf", None):
            raise ConfigError(f"supernet_conf: --model {args.model} has no subnets; use supernet")
        validation.check_token_list(args)
        validation.check_blocks(args, cls.class_choices_list)
        try:
            return super().build_model(args)
        except (TypeError, EOFError) as error:  # a value of another type; an empty stats_file
            raise ConfigError(
                f"the model cannot be built ({error}); check the types of the values in "
                "encoder_conf, frontend_conf, model_conf, and normalize_conf.stats_file"
            ) from error

    @classmethod
    def build_model_from_file(
        cls,
        config_file: Path | str | None = None,
        model_file: Path | str | None = None,
        device: str = "cpu",
    ) -> tuple[ESPnetASRModel, argparse.Namespace]:
        """Build a trained model; weights and masks must fit exactly.

        Args:
            config_file: ``config.yaml``; beside the model file when None.
            model_file: Weights, or None.
            device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

        Returns:
            Model and options.

        Raises:
            ConfigError: If the configuration cannot be used.
            CheckpointError: If the weights cannot be read or do not fit.
        """
        return loading.build_from_file(cls.build_model, config_file, model_file, device)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Build ESPnet's optimizer and let the pruner follow its steps.

        Raises:
            ConfigError: If ``optim_conf`` has an unknown key.
            CheckpointError: If the output folder holds a checkpoint of another configuration.
        """
        _check_resume(args)
        if args.optim in optim_classes:
            validation.check_call(
                optim_classes[args.optim], args.optim_conf or {}, "optim_conf", {"params"}
            )
        optimizers = super().build_optimizers(args, model)
        pruner = getattr(model, "pruner", None)
        if pruner is not None:
            pruner.attach(optimizers[0])
        return optimizers


def _check_resume(args: argparse.Namespace) -> None:
    """Refuse to resume another model, before its ``config.yaml`` is overwritten.

    Raises:
        CheckpointError: Naming the first option that differs.
    """
    folder = Path(args.output_dir) if getattr(args, "output_dir", None) else None
    if folder is None or args.collect_stats or not getattr(args, "resume", False):
        return
    config = folder / "config.yaml"
    if not (folder / "checkpoint.pth").exists() or not config.exists():
        return
    with open(config, encoding="utf-8") as file:
        check_same_model(yaml.safe_load(file), vars(args), folder)


def _error_with_hint(parser: argparse.ArgumentParser, message: str) -> None:
    """End with status 2 and one line; for an unknown option, name the nearest known one."""
    prefix = "unrecognized arguments: "
    if message.startswith(prefix) and message[len(prefix) :].split():
        given = message[len(prefix) :].split()[0].lstrip("-").split("=")[0]
        known = [action.dest for action in parser._actions]
        close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
        if close:
            message = f"{message}; did you mean '{close[0]}'?"
    parser.exit(2, f"{parser.prog}: error: {message}\n")
