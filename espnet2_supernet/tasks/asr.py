"""Speech recognition with a supernet, as an ESPnet task."""

from __future__ import annotations

import argparse

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.tasks.asr import ASRTask
from espnet2.utils.types import int_or_none, str_or_none

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.registry import register
from espnet2_supernet.tasks import loading, starting, transfer, validation
from espnet2_supernet.tasks.base import SupernetTask, building, forget_statistics, resumes
from espnet2_supernet.train.trainer import MASKS_ARE_FINAL

SUPERNET_MODELS = ("supernet", "encrl")

register()  # at import: a worker that ESPnet spawns imports this module and nothing else


class SupernetASRTask(SupernetTask, ASRTask):
    """ESPnet's ASR task with our encoder, front-end and model as defaults.

    New options: ``--supernet_conf``, the table of subnets; ``--ssl_model_file``, ``--ssl_masks``
    and ``--ssl_blocks``, to start from a pre-trained encoder; ``--init_model_file`` and
    ``--init_blocks``, to start from blocks of a larger model. Unknown keys are errors.
    """

    data_names: tuple[str, ...] = ("speech", "text")
    statistics: tuple[str, ...] = ("loss", "loss_ctc", "loss_rnnt", "cer", "wer")
    needed_options = loading.RECOGNISER_OPTIONS

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add ESPnet's options and ours."""
        super().add_task_arguments(parser)
        cls.add_supernet_arguments(parser)
        starting.add_start_arguments(parser)
        group = parser.add_argument_group("Start from pre-training")
        group.add_argument(
            "--ssl_model_file",
            type=str_or_none,
            default=None,
            help="Weights of ssl_train with their config.yaml beside them: encoder and "
            "normalisation are taken over, the quantiser and its projections are not",
        )
        group.add_argument(
            "--ssl_masks",
            choices=transfer.MASK_CHOICES,
            default="reset",
            help="Masks of pre-training. reset: prune anew on this schedule; carry: start with "
            "them, and let the schedule (constant, say) estimate them again; freeze: keep them",
        )
        group.add_argument(
            "--ssl_blocks",
            type=int_or_none,
            default=None,
            help="Encoder blocks taken over, counted from the first; those above begin anew, since "
            "pre-training bends them to its own targets. All by default; needs ssl_masks: reset",
        )
        parser.set_defaults(
            encoder="supernet_conformer",
            frontend="log_mel",
            model="supernet",
            normalize=None,  # ESPnet's default, utterance_mvn, cannot stream
            num_att_plot=0,
        )

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train, or collect statistics, in this process; the options are ESPnet's and ours.

        Raises:
            SupernetError: If the configuration, the data or a checkpoint cannot be used.
        """
        validation.check_token_list(args)
        if not args.collect_stats and not resumes(args):
            if args.init_model_file:
                starting.check_start(args, cls.class_choices_list)
            if args.ssl_model_file:
                transfer.check_pretraining(args, cls.class_choices_list)
        super().main_worker(args)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Build ESPnet's optimizer; a new training takes over what was trained before.

        Raises:
            ConfigError: If ``optim_conf`` has an unknown key.
            CheckpointError: If the output folder holds a checkpoint of another configuration, or
                the weights to start from do not fit.
        """
        optimizers = super().build_optimizers(args, model)
        if getattr(args, "init_model_file", None) and not args.collect_stats and not resumes(args):
            starting.take_blocks(args, model)
        if getattr(args, "ssl_model_file", None) and not args.collect_stats:
            if not resumes(args):
                transfer.take_over(args, model)
            # read by the trainer, on resuming too: the schedule is at its end from the start
            setattr(model, MASKS_ARE_FINAL, args.ssl_masks == "freeze")
        return optimizers

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
        forget_statistics(args)
        if args.model in SUPERNET_MODELS:
            config = validation.merge_supernet_conf(args)
            validation.check_streamable(args, config)
        elif getattr(args, "supernet_conf", None):
            raise ConfigError(f"supernet_conf: --model {args.model} has no subnets; use supernet")
        validation.check_token_list(args)
        validation.check_blocks(args, cls.class_choices_list)
        with building():
            return super().build_model(args)
