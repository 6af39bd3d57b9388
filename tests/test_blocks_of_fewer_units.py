"""One device row with fewer units, fewer frames and blocks of zeros, in two trainings.

A row with pruned units and SALAD is extracted; what is left, blocks of unlike sizes, is fine-tuned
under a mask of blocks, as the page of ``egs/an4/damon1`` does it.
"""

import json

import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, bundle, check_streaming, prune_extract
from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.encoder.sizes import encoder_sizes
from espnet2_supernet.runtime.bundle import read_bundle
from espnet2_supernet.tasks.asr import SupernetASRTask

CHUNKS = {"chunk_size": 4, "left_context": 8}
SALAD = {"kind": "salad"}
KINDS = ["attention_heads", "linear_units", "convolution_channels"]
UNITS = {"pattern": {"structured": {"kinds": KINDS}}, "sparsity": 0.5, "ranking": "kind"}
BLOCKS = {"pattern": {"block": [4, 1]}, "sparsity": 0.5}
SAFARI = {"kind": "prune_and_grow", "begin": 0, "end": 0.5, "update_every": 1, "growth": "zero"}
ONCE = {"kind": "one_shot", "begin": 0}


def train(tiny_corpus, folder, mask, schedule, weights, more=""):
    """Train ``server`` and ``device`` for an epoch with SALAD; return the folder."""
    rows = {
        "server": {"context": "full", "tokens": SALAD},
        "device": {"context": CHUNKS, "tokens": SALAD, "mask": mask},
    }
    if schedule is SAFARI:  # it writes weights
        rows["server"]["mask"] = "device"
    path = tiny_corpus.write_config(
        folder / "train.yaml", max_epoch=1, init_param=[str(one) for one in weights],
        supernet_conf={"subnets": rows, "schedule": schedule},
        freeze_param=["encoder.subsampling"],
    )  # fmt: skip
    path.write_text(path.read_text() + more)
    asr_train.main(["--config", str(path), "--output_dir", str(folder / "exp")])
    return folder / "exp"


def of_row(folder, out, name="valid.loss.ave.pth"):
    return ["--asr_model_file", str(folder / name), "--subnet", "device", "--output_dir", str(out)]


@pytest.fixture(scope="module")
def smaller(tiny_corpus, tmp_path_factory):
    """The extracted row of a training that prunes units and drops frames."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    root, detector = tmp_path_factory.mktemp("units"), SaladDetector(16)
    detector.threshold.fill_(0.5)
    detector.linear_out.weight.data.mul_(30.0)
    states = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save(states, root / "detector.pth")
    folder = train(tiny_corpus, root, UNITS, SAFARI, [root / "detector.pth"])
    prune_extract.main(of_row(folder, root / "extracted_device"))
    return root / "extracted_device"


def encoder_block(config):
    """The block ``encoder_conf`` of a configuration, as YAML; it wins over one before it."""
    conf = yaml.safe_load(config.read_text())["encoder_conf"]
    return yaml.safe_dump({"encoder_conf": conf})


def test_what_is_left_of_a_row_gets_a_mask_of_blocks_and_is_bundled(
    smaller, tiny_corpus, tmp_path, capsys
):
    more = encoder_block(smaller / "config.yaml")
    folder = train(tiny_corpus, tmp_path, BLOCKS, ONCE, [smaller / "model.pth"], more)
    model, _ = SupernetASRTask.build_model_from_file(model_file=folder / "valid.loss.ave.pth")
    before = torch.load(smaller / "model.pth", weights_only=True)
    assert float(model.detector.threshold) == float(before["detector.threshold"]) == 0.5
    sizes = encoder_sizes(model.encoder)
    units = [n for key in ("macaron_linear_units", "linear_units") for n in sizes[key]]
    assert 0 < sum(units) < 4 * 32 and any(n % 4 for n in units), "blocks are cut short"
    assert model.pruner.sparsity_report()["device"]["prunable"] == pytest.approx(0.5, abs=0.05)
    capsys.readouterr()
    scp = ["--wav_scp", str(tiny_corpus.root / "valid/wav.scp")]
    check_streaming.main(["--asr_model_file", str(folder / "valid.loss.ave.pth"), *scp])
    assert all("0 hypotheses differ" in line for line in capsys.readouterr().out.splitlines())
    bundle.main([*of_row(folder, tmp_path / "bundle"), *scp])
    record = json.loads((tmp_path / "bundle/comparison.json").read_text())
    assert record["differing"] == 0 and record["max_abs_diff"] <= 1e-4
    described = read_bundle(tmp_path / "bundle").description
    assert described.keep_rule.kind == "salad" and described.source.sparsity > 0.4
    assert list(described.encoder.linear_units) == list(sizes["linear_units"])
