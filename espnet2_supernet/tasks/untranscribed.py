"""Tasks that read no text: pre-training, and SALAD's detector."""

from __future__ import annotations

import argparse

from espnet2_supernet.tasks.base import SupernetTask


class UntranscribedTask(SupernetTask):
    """Base of our tasks that read no text: sounds are batched as they are.

    Attributes:
        optional_names: What a data set may have besides.
    """

    optional_names: tuple[str, ...] = ()

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> None:
        """Return None: nothing is done to a waveform before it is batched."""

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Return what a data set must have."""
        return cls.data_names

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Return what a data set may have besides."""
        return cls.optional_names
