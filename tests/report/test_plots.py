"""Plots are drawn without a display and without touching the caller's matplotlib."""

import os
from dataclasses import replace

import pytest

from espnet2_supernet.errors import DataError
from espnet2_supernet.report import history as history_module
from espnet2_supernet.report.history import plot_history
from espnet2_supernet.report.plots import (
    plot_layer_sparsity,
    plot_rates,
    plot_rates_against_nonzero,
)
from espnet2_supernet.report.results import collect


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_plots_of_an_experiment(scored_once, tmp_path):
    decodes = collect([scored_once])
    plot_rates(decodes, tmp_path / "images" / "wer.png")
    assert plot_rates_against_nonzero(decodes, tmp_path / "nonzero.png")
    assert is_png(tmp_path / "images" / "wer.png")
    assert is_png(tmp_path / "nonzero.png")


def test_rows_without_size_or_interval(scored_once, tmp_path):
    server, device = collect([scored_once])
    scored = server.sets["dev"]["wer"]
    bare = replace(scored, score=replace(scored.score, interval=None))
    server = replace(server, size=None, sets={"dev": {"wer": bare}})
    plot_rates([server, device], tmp_path / "wer.png")
    assert is_png(tmp_path / "wer.png")
    assert plot_rates_against_nonzero([server, device], tmp_path / "some.png")
    assert not plot_rates_against_nonzero([server], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_layer_sparsity(tmp_path):
    plot_layer_sparsity({f"layer{i}": i / 10 for i in range(10)}, tmp_path / "x" / "layers.png")
    assert is_png(tmp_path / "x" / "layers.png")
    with pytest.raises(DataError, match="no layer"):
        plot_layer_sparsity({}, tmp_path / "empty.png")


def test_history_of_a_pretraining(tmp_path):
    """Every statistic that tells of a collapse has its panel; one epoch is enough."""
    stats = {"loss_server": 3.0, "loss_diversity": 0.5, "accuracy_server": 0.2, "temperature": 2.0}
    stats |= {"code_perplexity_0": 31.0, "code_perplexity_1": 12.0, "masked": 0.5}
    valid = stats | {"sparsity_device": 0.7, "masks_final": 1.0}
    history = {e: {"train": {**stats, "time": 1.0}, "valid": valid} for e in (1, 2)}
    path = tmp_path / "images" / "training.png"
    assert plot_history(history, path) and is_png(path)
    assert plot_history({1: history[1]}, tmp_path / "one.png") and is_png(tmp_path / "one.png")
    assert not plot_history({1: {"train": {"time": 1.0}}}, tmp_path / "none.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "one.png"]


def test_history_panels(monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(history_module, "_draw", lambda _, label, c: drawn.update({label: c}))
    valid = {"cer_device": 0.25, "sparsity_device": 0.7, "loss_device": 2.0}
    valid |= {"loss": 9.0, "loss_scale": 1.0}
    plot_history(
        {3: {"valid": valid}, 4: {"valid": valid | {"cer_device": 0.5}}}, tmp_path / "p.png"
    )
    assert drawn["CER (%)"] == [("cer_device", "valid", [3, 4], [25.0, 50.0])]
    assert drawn["loss of a subnet"] == [("loss_device", "valid", [3, 4], [2.0, 2.0])]
    (density,) = drawn["weights kept, frames masked (%)"]
    assert density[0] == "density_device" and density[3] == pytest.approx([30.0, 30.0])
    assert len(drawn) == 3


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        plot_layer_sparsity({"a": 0.5}, tmp_path / "file" / "layers.png")
    assert os.listdir(tmp_path) == ["file"]
