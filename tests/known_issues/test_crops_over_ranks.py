"""Two processes cropped long utterances at other places than one process did."""

import argparse

import numpy as np
import pytest
from espnet2.train.distributed_utils import DistributedOption

from espnet2_supernet.tasks.ssl import SupernetSSLTask


@pytest.mark.parametrize("num_workers", [0, 1])
def test_crops_follow_the_utterance(tiny_corpus, num_workers):
    """Two utterances in a batch of one rank, or each alone, in three epochs."""
    config = tiny_corpus.ssl_config(num_workers=num_workers, batch_size=2)
    config |= {"collate_fn_conf": {"max_sample_size": 3000}, "num_iters_per_epoch": 4}
    found = []
    for batch_size, seed in ((2, 0), (1, 1)):
        args = argparse.Namespace(
            **vars(SupernetSSLTask.get_parser().parse_args([])) | config | {"seed": 7}
        )
        args.batch_size, args.num_iters_per_epoch = batch_size, None
        factory = SupernetSSLTask.build_iter_factory(args, DistributedOption(), mode="train")
        crops = {}
        for epoch in (1, 2, 3):
            np.random.seed(seed)
            for ids, batch in factory.build_iter(epoch):
                for name, speech in zip(ids, batch["speech"], strict=True):
                    crops[epoch, name] = speech.tolist()
        found.append(crops)
    assert found[0] == found[1] and len(found[0]) == 24
    assert found[0][1, "train0"] != found[0][2, "train0"]
