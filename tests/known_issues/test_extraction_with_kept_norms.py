"""A row with a depth could not be extracted where ``layerdrop_keep_norm`` keeps norms (LDASR).

Stage 10 of the recipes ended there, so that such rows were neither decoded nor in the table.
"""

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.export.encoder_graphs import EncoderGraph
from espnet2_supernet.tasks import bundling, extraction
from espnet2_supernet.tasks.asr import SupernetASRTask

CHUNKS = {"chunk_size": 4, "left_context": 4}
ROW = {"context": CHUNKS, "depth": {"layers": 2, "keep": "spread"}}


@pytest.fixture
def built(tiny_corpus, tmp_path):
    """A random model whose blocks' norms differ, and its options."""
    torch.set_num_threads(1)
    config = tiny_corpus.config()
    config["encoder_conf"] |= {"num_blocks": 4, "layerdrop": 0.5, "layerdrop_keep_norm": True}
    table = {"server": {"context": "full"}, "low": ROW}
    config["supernet_conf"] |= {"subnets": table, "sampling": {"by_layerdrop": ["low"]}}
    path = tiny_corpus.write_config(tmp_path / "train.yaml", **config)
    command = ["--config", str(path), "--output_dir", str(tmp_path)]
    args = SupernetASRTask.get_parser().parse_args(command)
    model = SupernetASRTask.build_model(args).eval()
    for block in model.encoder.blocks:
        torch.nn.init.uniform_(block.norm_out.weight, 0.5, 2.0)
    return model, args


@pytest.mark.parametrize("mask", [None, {"pattern": {"block": [4, 1]}, "sparsity": 0.5}])
def test_it_is_extracted_with_these_norms(built, tmp_path, mask):
    model, args = built
    if mask is not None:
        model = extraction.prune_row(model, args, "low", mask)
    summary = extraction.extract(model, args, "low", tmp_path / "low", [torch.randn(9000)])
    assert summary["max_abs_diff"] <= 1e-5
    small, found = SupernetASRTask.build_model_from_file(model_file=tmp_path / "low/model.pth")
    assert found.encoder_conf["kept_norms"] == [0, 2] and found.encoder_conf["num_blocks"] == 2
    assert sum(p.numel() for p in small.parameters()) == summary["parameters"]
    again = extraction.extract(small, found, "low", tmp_path / "again", [torch.randn(9000)])
    assert again["max_abs_diff"] <= 1e-5


def test_what_has_no_place_for_them_says_so(built):
    model = built[0]
    with pytest.raises(ConfigError, match="layerdrop_keep_norm: a bundle cannot have the norms"):
        bundling._sizes(model, "low", model.supernet.subnet("low").contexts[0])
    with pytest.raises(ConfigError, match="layerdrop_keep_norm: an ONNX file cannot"):
        EncoderGraph(model.supernet.extract("low"))
