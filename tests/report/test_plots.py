"""Plots are drawn without a display and without touching the caller's matplotlib."""

import os
from dataclasses import replace

import pytest

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.plots import plot_layer_sparsity, plot_wer, plot_wer_against_nonzero
from espnet2_supernet.report.results import collect


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_plots_of_an_experiment(scored_once, tmp_path):
    decodes = collect([scored_once])
    plot_wer(decodes, tmp_path / "images" / "wer.png")
    assert plot_wer_against_nonzero(decodes, tmp_path / "nonzero.png")
    assert is_png(tmp_path / "images" / "wer.png")
    assert is_png(tmp_path / "nonzero.png")


def test_rows_without_size_or_interval(scored_once, tmp_path):
    server, device = collect([scored_once])
    scored = server.sets["dev"]["wer"]
    bare = replace(scored, score=replace(scored.score, interval=None))
    server = replace(server, size=None, sets={"dev": {"wer": bare}})
    plot_wer([server, device], tmp_path / "wer.png")
    assert is_png(tmp_path / "wer.png")
    assert plot_wer_against_nonzero([server, device], tmp_path / "some.png")
    assert not plot_wer_against_nonzero([server], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_layer_sparsity(tmp_path):
    plot_layer_sparsity({f"layer{i}": i / 10 for i in range(10)}, tmp_path / "x" / "layers.png")
    assert is_png(tmp_path / "x" / "layers.png")
    with pytest.raises(DataError, match="no layer"):
        plot_layer_sparsity({}, tmp_path / "empty.png")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        plot_layer_sparsity({"a": 0.5}, tmp_path / "file" / "layers.png")
    assert os.listdir(tmp_path) == ["file"]
