"""One process that counts as distributed met an utterance alone in its batch only in training.

The check of the batches was left out for it, and the CLIP loss named no utterance.
"""

import argparse

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.tasks.encrl import SupernetEncRLTask


@pytest.fixture
def one_rank():
    """A group of one process."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield argparse.Namespace(distributed=True)
    torch.distributed.destroy_process_group()


def test_its_batches_are_checked_before_training(tiny_corpus, tmp_path, one_rank):
    config = tiny_corpus.write_encrl_config(tmp_path / "train.yaml", tmp_path, batch_size=1)
    args = SupernetEncRLTask.get_parser().parse_args(
        ["--config", str(config), "--output_dir", str(tmp_path / "exp")]
    )
    options = SupernetEncRLTask.build_iter_options(args, one_rank, "train")
    with pytest.raises(ConfigError, match=r"batch of train: 'train\d' is alone .* change batch_"):
        SupernetEncRLTask.build_sequence_iter_factory(args, options, "train")
