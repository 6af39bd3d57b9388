"""A random model on disk for the commands that decode."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="session")
def random_model(tiny_corpus, tmp_path_factory) -> Path:
    """Return an experiment folder with ``config.yaml`` and ``valid.loss.ave.pth``, untrained."""
    import torch

    from espnet2_supernet.sparsity.linear import MaskedLinear
    from espnet2_supernet.tasks.asr import SupernetASRTask

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("random") / "asr_tiny"
    folder.mkdir()
    config = tiny_corpus.write_config(folder / "train.yaml")
    args = SupernetASRTask.get_parser().parse_args(
        ["--config", str(config), "--output_dir", str(folder)]
    )
    model = SupernetASRTask.build_model(args)
    with torch.no_grad():
        model.ctc.ctc_lo.weight.mul_(10.0)
        for layer in model.encoder.modules():
            if isinstance(layer, MaskedLinear) and "device" in layer.patterns:
                layer.mask("device")[:, ::2] = False
    (folder / "config.yaml").write_text(yaml.safe_dump(_plain(vars(args)), sort_keys=False))
    torch.save(model.state_dict(), folder / "valid.loss.ave.pth")
    return folder


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
