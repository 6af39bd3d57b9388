"""The check of promise 1 on files."""

import json

import pytest
import torch

from espnet2_supernet.bin import check_streaming
from espnet2_supernet.errors import ConfigError, DataError, SupernetError


def check(model, corpus, *options):
    check_streaming.main(
        ["--asr_model_file", str(model / "valid.loss.ave.pth"),
         "--wav_scp", str(corpus.root / "train" / "wav.scp"), *map(str, options)]
    )  # fmt: skip


def test_streamed_equals_masked(random_model, tiny_corpus, tmp_path, capsys):
    check(random_model, tiny_corpus, "--output", tmp_path / "report.json")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("8 utterances, 0 hypotheses differ" in line for line in lines)
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["piece_ms"] for row in report] == [10.0, 100.0, 437.5]
    assert all(row["subnet"] == "device" and row["max_abs_diff"] <= 1e-4 for row in report)


def test_other_contexts_and_searches(random_model, tiny_corpus, capsys):
    check(random_model, tiny_corpus, "--chunk_size", 2, "--search", "beam", "--max_utts", 2,
          "--piece_ms", "33.3", "--subnet", "device")  # fmt: skip
    assert "chunk 80 ms" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["output", "hypothesis"])
def test_a_difference_is_found(random_model, tiny_corpus, monkeypatch, broken, tmp_path):
    from espnet2_supernet.decode.speech2text import Speech2Text

    original = Speech2Text.encode_with_times
    change = {"output": lambda x: x + 0.01, "hypothesis": lambda x: torch.roll(x, 1, -1)}[broken]
    monkeypatch.setattr(
        Speech2Text,
        "encode_with_times",
        lambda self, speech: (change(original(self, speech)[0]), None),
    )
    message = {"output": "encoder outputs differ by", "hypothesis": "hypotheses differ for train"}
    with pytest.raises(SupernetError, match=message[broken]):
        check(random_model, tiny_corpus, "--max_utts", 2, "--piece_ms", 100,
              "--output", tmp_path / "r.json")  # fmt: skip
    assert (tmp_path / "r.json").exists()


def test_bad_input(random_model, tiny_corpus, tmp_path):
    with pytest.raises(ConfigError, match="full context and cannot stream"):
        check(random_model, tiny_corpus, "--subnet", "server")
    for size in ("", "0", "a", "nan"):
        with pytest.raises(ConfigError, match="piece_ms"):
            check(random_model, tiny_corpus, "--piece_ms", size)
    with pytest.raises(ConfigError, match="max_utts"):
        check(random_model, tiny_corpus, "--max_utts", 0)
    with pytest.raises(ConfigError, match="--wav_scp is missing"):
        check_streaming.main([])
    (tmp_path / "wav.scp").write_text("a none.wav\n")
    with pytest.raises(DataError, match="utterance 'a'.*no such audio file"):
        check(random_model, tiny_corpus, "--wav_scp", tmp_path / "wav.scp")
