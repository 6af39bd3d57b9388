"""What all tasks of a supernet share: options, checks, training data, optimiser."""

from __future__ import annotations

import argparse
import difflib
import functools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
import yaml
from espnet2.tasks.abs_task import AbsTask, optim_classes
from espnet2.train.distributed_utils import get_rank
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.block_linear import use_block_kernels
from espnet2_supernet.tasks import loading, validation
from espnet2_supernet.tasks.plotting import PlottingTrainer
from espnet2_supernet.tasks.start_files import add_start_record, check_same_start, note_start
from espnet2_supernet.tasks.training_data import (
    check_training_data,
    checked_sounds,
    sampling_rate,
)
from espnet2_supernet.train.checkpoint import check_same_model
from espnet2_supernet.train.folder_lock import locked_folder


class SupernetTask(AbsTask):
    """Base of our tasks; put it before ESPnet's own task among the bases.

    Attributes:
        data_names: What each data set must have.
        statistics: What the model reports of a subnet ``name`` as ``<statistic>_<name>``.
        model_statistics: What it reports of itself, besides the loss.
        needed_options: What the ``config.yaml`` of a trained model must have.
    """

    trainer = PlottingTrainer
    data_names: tuple[str, ...] = ("speech",)
    statistics: tuple[str, ...] = ("loss",)
    model_statistics: tuple[str, ...] = ()
    needed_options: tuple[str, ...] = loading.NEEDED_OPTIONS

    @classmethod
    def get_parser(cls):
        """Return ESPnet's parser; its errors name the nearest valid option."""
        parser = super().get_parser()
        parser.error = functools.partial(_error_with_hint, parser)
        add_start_record(parser)
        return parser

    @classmethod
    def add_supernet_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options that all our tasks have."""
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
        group.add_argument(
            "--sparse_training_kernels",
            type=str2bool,
            default=True,
            help="Training on a CPU with AVX2 or AVX-512: multiply masks of 16-row blocks by their "
            "kept blocks only, on an EPYC core twice as fast as oneDNN at 70 percent zeros; where "
            "this does not apply, nothing changes",
        )

    @classmethod
    def print_config(cls, file: TextIO | None = None) -> None:
        """Print the default configuration as YAML.

        Args:
            file: Where to; standard output when None (ESPnet binds it at import).
        """
        super().print_config(sys.stdout if file is None else file)

    @classmethod
    def needed_data(cls, args: argparse.Namespace) -> tuple[str, ...]:
        """Return what each data set must have under these options."""
        return cls.data_names

    @classmethod
    def sampling_rate(cls, args: argparse.Namespace) -> int:
        """Return the rate in Hz that sounds must have."""
        return sampling_rate(args)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train, or collect statistics, in this process; the options are ESPnet's and ours.

        Raises:
            SupernetError: If the configuration, the data or a checkpoint cannot be used, or
                another training is at work in the output folder.
        """
        validation.check_options(args, cls.statistics, cls.model_statistics)
        check_training_data(args, cls.needed_data(args))
        with ExitStack() as stack:
            if _is_first_rank(args):
                stack.enter_context(locked_folder(args.output_dir))
            stack.enter_context(_chosen_kernels(args))
            stack.enter_context(checked_sounds(cls.sampling_rate(args)))
            super().main_worker(args)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Build ESPnet's optimizer and let the pruner follow its steps.

        Raises:
            ConfigError: If ``optim_conf`` has an unknown key.
            CheckpointError: If the output folder holds a checkpoint of another configuration, or
                of a training that began otherwise.
        """
        if resumes(args):
            _check_resume(args)
        elif not args.collect_stats:
            note_start(args)
        if args.optim in optim_classes:
            validation.check_call(
                optim_classes[args.optim], args.optim_conf or {}, "optim_conf", {"params"}
            )
        optimizers = super().build_optimizers(args, model)
        pruner = getattr(model, "pruner", None)
        if pruner is not None:
            pruner.attach(optimizers[0])
        return optimizers

    @classmethod
    def build_model_from_file(
        cls,
        config_file: Path | str | None = None,
        model_file: Path | str | None = None,
        device: str = "cpu",
    ) -> tuple[Any, argparse.Namespace]:
        """Build a trained model; weights and masks must fit exactly.

        Args:
            config_file: ``config.yaml``; beside the model file when None.
            model_file: Weights, or None.
            device: ``cpu``, ``cuda`` or ``cuda:N``.

        Returns:
            Model and options.

        Raises:
            ConfigError: If the configuration cannot be used.
            CheckpointError: If the weights cannot be read or do not fit.
        """
        return loading.build_from_file(
            cls.build_model, config_file, model_file, device, cls.needed_options
        )


def _is_first_rank(args: argparse.Namespace) -> bool:
    """Return whether this process writes to the output folder."""
    return not args.distributed or get_rank(args.dist_rank, args.dist_launcher) == 0


def forget_statistics(args: argparse.Namespace) -> None:
    """While statistics are collected there are none to normalise with yet."""
    if getattr(args, "collect_stats", False):
        args.normalize, args.normalize_conf = None, {}


@contextmanager
def _chosen_kernels(args: argparse.Namespace) -> Iterator[None]:
    """Use the products that the options choose, and afterwards those of before."""
    onednn: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    precision = onednn.fp32_precision
    kernels = use_block_kernels(getattr(args, "sparse_training_kernels", False))
    if getattr(args, "onednn_matmul", False):
        # "bf16" allows oneDNN; without AMX it still computes in float32
        onednn.fp32_precision = "bf16"
    try:
        yield
    finally:
        onednn.fp32_precision = precision
        use_block_kernels(kernels)


@contextmanager
def building() -> Iterator[None]:
    """Name the configuration when a model cannot be built from it.

    Raises:
        ConfigError: If a value has the wrong type, or a file that is read is empty.
    """
    try:
        yield
    except (TypeError, EOFError) as error:  # a value of another type; an empty stats_file
        raise ConfigError(
            f"the model cannot be built ({error}); check the types of the values in "
            "encoder_conf, frontend_conf, model_conf, and normalize_conf.stats_file"
        ) from error


def _check_resume(args: argparse.Namespace) -> None:
    """Refuse to resume another training, before its ``config.yaml`` is overwritten.

    Raises:
        CheckpointError: Naming the first option that differs.
    """
    folder = Path(args.output_dir)
    config = folder / "config.yaml"
    if config.exists():
        with open(config, encoding="utf-8") as file:
            old = yaml.safe_load(file)
        check_same_model(old, vars(args), folder)
        check_same_start(old, args, folder)


def resumes(args: argparse.Namespace) -> bool:
    """Return whether training will go on from a checkpoint in the output folder."""
    if not getattr(args, "output_dir", None) or args.collect_stats:
        return False
    return bool(getattr(args, "resume", False)) and Path(args.output_dir, "checkpoint.pth").exists()


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
