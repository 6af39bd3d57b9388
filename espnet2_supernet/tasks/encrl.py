"""Representation learning from a teacher, as an ESPnet task."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.utils.types import str_or_none

from espnet2_supernet.encrl.model import SupernetEncRLModel
from espnet2_supernet.encrl.settings import MODEL_KEYS, EncRLSettings
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.tasks.teacher import attach_teacher


class SupernetEncRLTask(SupernetASRTask):
    """The recogniser's task with model ``encrl``, a teacher, and text only where it is needed.

    New options: ``--teacher_model_file``, ``--teacher_config_file``, ``--teacher_subnet`` and
    ``--teacher_sha256``. What is learnt is set in ``model_conf``: ``losses``, ``outputs``,
    ``clip``, ``clean_teacher``. What it writes is a recogniser, which ``asr_inference`` decodes.
    """

    data_names: tuple[str, ...] = ("speech",)
    statistics: tuple[str, ...] = (
        *SupernetASRTask.statistics,
        "loss_mse",
        "loss_mae",
        "loss_kl",
        "loss_clip",
        "loss_asr",
        "retrieval",
        "agreement",
    )

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the recogniser's options and those of the teacher."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Teacher")
        group.add_argument(
            "--teacher_model_file",
            type=str_or_none,
            default=None,
            help="Weights of the recogniser to be copied; it stays frozen",
        )
        group.add_argument(
            "--teacher_config_file",
            type=str_or_none,
            default=None,
            help="Its config.yaml; default: beside the weights",
        )
        group.add_argument(
            "--teacher_subnet",
            type=str_or_none,
            default=None,
            help="Which of its subnets teaches; default: the first",
        )
        group.add_argument(
            "--teacher_sha256",
            type=str_or_none,
            default=None,
            help="SHA-256 that the weights must have; noted in config.yaml when not given",
        )
        parser.set_defaults(model="encrl")

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train, or collect statistics, in this process.

        Raises:
            SupernetError: If the configuration, the data or a checkpoint cannot be used.
        """
        if args.model != "encrl":
            raise ConfigError(f"model: encrl_train trains model encrl, got {args.model}")
        super().main_worker(args)

    @classmethod
    def needed_data(cls, args: argparse.Namespace) -> tuple[str, ...]:
        """Return what a data set must have: text for the recogniser's own loss only."""
        return ("speech", "text") if _settings(args).has("asr") else cls.data_names

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Return what ESPnet must find in a data set."""
        return cls.data_names

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Return what a data set may have."""
        return ("text", *super().optional_data_names(train, inference))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetASRModel:
        """Build the student, and load its teacher unless statistics are collected.

        Args:
            args: Options; ``teacher_sha256`` is filled in.

        Raises:
            ConfigError: If the configuration cannot be used, or teacher and student do not fit.
            CheckpointError: If the teacher's files are missing or not what they should be.
        """
        model = super().build_model(args)
        if not args.collect_stats:
            assert isinstance(model, SupernetEncRLModel)
            attach_teacher(args, model)
        return model

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: Any, mode: str
    ) -> AbsIterFactory:
        """Return ESPnet's batches.

        Raises:
            ConfigError: If the CLIP loss would meet an utterance alone in its batch.
        """
        factory: Any = super().build_sequence_iter_factory(args, iter_options, mode)
        # with several processes, ESPnet has seen to it that each of them has an utterance
        processes = torch.distributed.get_world_size() if iter_options.distributed else 1
        if _settings(args).has("clip") and processes == 1:
            alone = next((batch for batch in factory.sampler if len(batch) < 2), None)
            if alone is not None:
                raise ConfigError(
                    f"batch of {mode}: '{alone[0]}' is alone in its batch, and the CLIP loss tells "
                    "utterances apart: change batch_type, batch_size or batch_bins, or set "
                    "model_conf.losses.clip to 0"
                )
        return factory


def _settings(args: argparse.Namespace) -> EncRLSettings:
    conf = args.model_conf or {}
    losses, outputs, clip, clean = (conf.get(name) for name in MODEL_KEYS)
    return EncRLSettings.parse(losses, outputs or "log_softmax", clip, clean or False)
