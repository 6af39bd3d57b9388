"""Training of SALAD's detector, as an ESPnet task."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet2_supernet.damon.labels import check_files, check_tokens, read_info
from espnet2_supernet.damon.salad_model import FrozenFront, SaladModel
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.tasks import loading, training_data, validation
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.tasks.base import building
from espnet2_supernet.tasks.untranscribed import UntranscribedTask


class SaladTask(UntranscribedTask):
    """A task whose data sets have ``speech`` and ``labels``, as ``salad_labels`` writes them.

    The recogniser that ``asr_model_file`` names gives features and subsampling, which are frozen.
    """

    data_names = ("speech", "labels")
    statistics = ()
    model_statistics = ("recall", "precision", "keep_ratio")
    needed_options = ("asr_model_file", "model_conf")
    class_choices_list: list[Any] = []

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of the detector."""
        group = parser.add_argument_group("Task related")
        group.add_argument(
            "--asr_model_file",
            type=str_or_none,
            default=None,
            help="Weights of the recogniser that will drop frames, config.yaml beside them",
        )
        group.add_argument(
            "--model_conf",
            action=NestedDictAction,
            default={},
            help="channels, kernel_size, num_layers, first_n, positive_weight",
        )
        parser.set_defaults(num_att_plot=0)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train, or collect statistics, in this process.

        Raises:
            SupernetError: If the configuration, the labels or a checkpoint cannot be used.
        """
        _check_labels(args)
        super().main_worker(args)

    @classmethod
    def sampling_rate(cls, args: argparse.Namespace) -> int:
        """Return the sampling rate in Hz of the recogniser."""
        options = _asr_options(args)
        return training_data.sampling_rate(argparse.Namespace(**options))

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[
        [Collection[tuple[str, dict[str, np.ndarray]]]], tuple[list[str], dict[str, torch.Tensor]]
    ]:
        """Return what pads a batch of utterances."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SaladModel:
        """Load the recogniser and put the detector behind its subsampling.

        Raises:
            ConfigError: If the configuration cannot be used.
            CheckpointError: If the recogniser cannot be loaded.
        """
        conf = args.model_conf or {}
        validation.check_call(SaladModel, conf, "model_conf", {"front"})
        _asr_options(args)
        asr: Any = SupernetASRTask.build_model_from_file(None, args.asr_model_file)[0]
        with building():
            return SaladModel(FrozenFront(asr.frontend, asr.normalize, asr.encoder), **conf)


def _asr_options(args: argparse.Namespace) -> dict[str, Any]:
    """Read the options of the recogniser.

    Raises:
        ConfigError: If none is given, or its configuration cannot be read.
        CheckpointError: If the file is missing.
    """
    where = args.asr_model_file
    if not where:
        raise ConfigError("asr_model_file: not given; the recogniser that will drop frames")
    if not Path(where).is_file():
        raise CheckpointError(f"asr_model_file: {where}: no such file; train the recogniser first")
    return loading.read_config(None, where)[1]


def _check_labels(args: argparse.Namespace) -> None:
    """Refuse labels of other tokens or frames than the recogniser's.

    Raises:
        ConfigError: If a teacher had another token list.
        DataError: If what made the labels is not known, or their files are gone.
    """
    tokens = _asr_options(args)["token_list"]
    triples = [
        *args.train_data_path_and_name_and_type, *args.valid_data_path_and_name_and_type
    ]  # fmt: skip
    for path, name, _ in triples:
        if name == "labels":
            info, _ = read_info(path)
            check_tokens(info, tokens, args.asr_model_file)
            check_files(path)
