"""A row with a depth could not be extracted where ``encoder_conf`` lists a size for each block.

The lists stayed as long as the whole encoder, the blocks became fewer: "3 sizes for 2 blocks".
"""

import pytest
import torch

from espnet2_supernet.tasks import extraction
from espnet2_supernet.tasks.asr import SupernetASRTask

ROW = {"context": {"chunk_size": 4}, "depth": {"layers": 2, "keep": "spread"}}


@pytest.mark.parametrize("mask", [None, {"pattern": {"block": [4, 1]}, "sparsity": 0.5}])
def test_the_sizes_of_its_blocks_are_written(tiny_corpus, tmp_path, mask):
    torch.set_num_threads(1)
    config = tiny_corpus.config()
    config["encoder_conf"] |= {"num_blocks": 3, "linear_units": [32, 16, 24]}
    table = {"server": {"context": "full"}, "low": ROW | ({"mask": mask} if mask else {})}
    config["supernet_conf"] |= {"subnets": table}
    path = tiny_corpus.write_config(tmp_path / "train.yaml", **config)
    command = ["--config", str(path), "--output_dir", str(tmp_path)]
    args = SupernetASRTask.get_parser().parse_args(command)
    model = SupernetASRTask.build_model(args).eval()
    extraction.extract(model, args, "low", tmp_path / "low", [torch.randn(9000)])
    small, found = SupernetASRTask.build_model_from_file(model_file=tmp_path / "low/model.pth")
    assert found.encoder_conf["linear_units"] == [32, 24] and len(small.encoder.blocks) == 2
