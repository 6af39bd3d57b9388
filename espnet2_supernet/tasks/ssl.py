"""Self-supervised pre-training of a supernet, as an ESPnet task."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.layers.global_mvn import GlobalMVN
from espnet2.layers.utterance_mvn import UtteranceMVN
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.class_choices import ClassChoices
from espnet2.utils.nested_dict_action import NestedDictAction

from espnet2_supernet.encoder import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
    SupernetWav2Vec2Encoder,
)
from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.features.waveform_conv import WaveformConvFrontend
from espnet2_supernet.ssl.model import SupernetSSLModel
from espnet2_supernet.tasks import validation
from espnet2_supernet.tasks.base import building, forget_statistics
from espnet2_supernet.tasks.cropping import CropCollateFn, EpochIterFactory
from espnet2_supernet.tasks.untranscribed import UntranscribedTask

frontend_choices = ClassChoices(
    "frontend",
    {"log_mel": LogMelFrontend, "waveform_conv": WaveformConvFrontend},
    type_check=AbsFrontend,
    default="log_mel",
)
normalize_choices = ClassChoices(
    "normalize",
    {"global_mvn": GlobalMVN, "utterance_mvn": UtteranceMVN},
    type_check=AbsNormalize,
    default=None,
    optional=True,
)
encoder_choices = ClassChoices(
    "encoder",
    {
        "supernet_transformer": SupernetTransformerEncoder,
        "supernet_conformer": SupernetConformerEncoder,
        "supernet_wav2vec2": SupernetWav2Vec2Encoder,
    },
    type_check=AbsEncoder,
    default="supernet_transformer",
)
model_choices = ClassChoices(
    "model", {"supernet": SupernetSSLModel}, type_check=AbsESPnetModel, default="supernet"
)


class SupernetSSLTask(UntranscribedTask):
    """wav2vec 2.0 pre-training in the shape of ESPnet's SSL task.

    Options, blocks and names of checkpoints are those of ``espnet2.bin.ssl_train``; data sets need
    ``speech`` only, there is no token list. What differs from ESPnet's task: the loss is set in
    ``model_conf``, long utterances are cropped one by one and not to the shortest of the batch,
    and unknown keys in any block are errors.
    """

    data_names = ("speech",)
    optional_names = ("text",)  # nobody looks at it
    statistics = ("loss", "accuracy")
    class_choices_list = [frontend_choices, normalize_choices, encoder_choices, model_choices]

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of pre-training."""
        group = parser.add_argument_group("Task related")
        group.add_argument(
            "--collate_fn_conf",
            action=NestedDictAction,
            default={},
            help="max_sample_size: crop longer training utterances to so many samples, at a "
            "random place (fairseq's name). E.g. --collate_fn_conf max_sample_size=250000",
        )
        for choices in cls.class_choices_list:
            choices.add_arguments(group)  # --encoder and --encoder_conf, ...
        cls.add_supernet_arguments(parser)
        parser.set_defaults(num_att_plot=0)

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[
        [Collection[tuple[str, dict[str, np.ndarray]]]], tuple[list[str], dict[str, torch.Tensor]]
    ]:
        """Return what makes a batch of utterances.

        Raises:
            ConfigError: If ``collate_fn_conf`` cannot be used.
        """
        conf = args.collate_fn_conf or {}
        check_keys(conf, ("max_sample_size",), "collate_fn_conf")
        size = conf.get("max_sample_size")
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ConfigError(f"collate_fn_conf.max_sample_size: samples from 1, got {size!r}")
        return CropCollateFn(size if train and not args.collect_stats else None, args.seed)

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: Any, mode: str
    ) -> AbsIterFactory:
        """Return ESPnet's batches; crops follow the epoch."""
        factory = super().build_sequence_iter_factory(args, iter_options, mode)
        return EpochIterFactory(factory, iter_options.collate_fn)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SupernetSSLModel:
        """Check the configuration and build the model.

        Args:
            args: Options; ``supernet_conf`` is completed and copied into ``model_conf``.

        Raises:
            ConfigError: If the configuration cannot be used.
        """
        forget_statistics(args)
        config = validation.merge_supernet_conf(args)
        validation.check_streamable(args, config)
        validation.check_blocks(args, cls.class_choices_list)
        with building():
            return cls._build(args)

    @classmethod
    def _build(cls, args: argparse.Namespace) -> SupernetSSLModel:
        frontend = frontend_choices.get_class(args.frontend)(**args.frontend_conf)
        encoder_class = encoder_choices.get_class(args.encoder)
        encoder = encoder_class(input_size=frontend.output_size(), **args.encoder_conf)
        normalize = None
        if args.normalize is not None:
            normalize = normalize_choices.get_class(args.normalize)(**args.normalize_conf)
        model_class = model_choices.get_class(args.model)
        return model_class(
            frontend=frontend, normalize=normalize, encoder=encoder, **args.model_conf
        )

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Build ESPnet's optimizer; pruner and temperature follow its steps.

        Raises:
            ConfigError: If ``optim_conf`` has an unknown key.
            CheckpointError: If the output folder holds a checkpoint of another configuration.
        """
        optimizers = super().build_optimizers(args, model)
        if isinstance(model, SupernetSSLModel):
            model.heads.quantizer.attach(optimizers[0])
        return optimizers
