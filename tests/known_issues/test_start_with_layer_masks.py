"""A start from a model with a mask of whole layers ended with a ValueError.

The mask lies beside the blocks, ``encoder.blocks.mask_few``, and was read as a block's number.
"""

import torch

from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.supernet import Supernet
from espnet2_supernet.tasks import starting

MASK = {"pattern": {"structured": {"kinds": ["layers"], "min_kept": 1}}, "sparsity": 0.5}


def encoder(num_blocks):
    torch.set_num_threads(1)
    network = SupernetConformerEncoder(8, 16, 2, 32, num_blocks=num_blocks, subsampling_channels=4)
    Supernet(network, SupernetConfig.parse({"subnets": {"server": {}, "few": {"mask": MASK}}}))
    return network


def test_masks_of_layers_are_no_blocks():
    weights = {f"encoder.{key}": value for key, value in encoder(4).state_dict().items()}
    assert "encoder.blocks.mask_few" in weights
    names = starting.key_map(weights, encoder(2).blocks, "last", "x.pth")
    places = {(o.split(".")[2], n.split(".")[2]) for o, n in names.items() if ".blocks." in o}
    assert places == {("2", "0"), ("3", "1")} and "encoder.blocks.mask_few" not in names
