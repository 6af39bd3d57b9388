"""The decoding command: files, resume, transcription."""

import pytest
import soundfile
import yaml

from espnet2_supernet.bin import _decode_output, asr_inference
from espnet2_supernet.errors import DataError

FILES = ("text", "token", "token_int", "score", "token_time")


def table(path):
    return dict(line.partition(" ")[::2] for line in path.read_text().splitlines())


def test_writes_espnets_files_sorted(decode, corpus, tmp_path):
    out = tmp_path / "decode" / "set"
    decode("--subnet", "device", "--output_dir", out, scp=corpus)
    rows = {name: table(out / name) for name in FILES}
    keys = sorted(table(corpus))
    assert all(list(rows[name]) == keys for name in FILES)
    assert any(rows["text"].values())
    for key in keys:
        ids, times = rows["token_int"][key].split(), rows["token_time"][key].split()
        assert len(ids) == len(times) == len(rows["token"][key].split())
        float(rows["score"][key])
    described = yaml.safe_load((out / "decode.yaml").read_text())
    assert described["subnet"] == "device" and described["search"] == "greedy"
    assert described["context"] == {"chunk_size": 4, "left_context": 4, "right_context": 0}
    assert described["frame_ms"] == 40.0 and described["lookahead_ms"] == 15.0
    assert described["algorithmic_latency_ms"] == 175.0
    assert described["num_utterances"] == len(keys) and described["real_time_factor"] > 0
    assert described["versions"]["espnet"] and "--subnet device" in described["command"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "decode.yaml"])


def test_streamed_and_masked_write_the_same(decode, corpus, tmp_path):
    for mode in ("masked", "streamed"):
        decode("--subnet", "device", "--mode", mode, "--output_dir", tmp_path / mode, scp=corpus)
    for name in ("text", "token", "token_int", "token_time"):
        masked, streamed = ((tmp_path / m / name).read_text() for m in ("masked", "streamed"))
        assert masked == streamed


def test_beam_nbest_and_key_file(decode, corpus, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("train3\ntrain1 anything\n")
    out = tmp_path / "out"
    config = tmp_path / "decode.yaml"
    config.write_text("search: beam\nbeam_size: 4\nnbest: 1\nallow_untrained: false\n")
    decode("--config", config, "--nbest", 3, "--subnet", "server", "--key_file", keys,
           "--output_dir", out, scp=corpus)  # fmt: skip
    assert list(table(out / "text")) == ["train1", "train3"]
    scores = [float(table(out / f"{n}best_recog" / "score")["train1"]) for n in (1, 2, 3)]
    assert scores == sorted(scores, reverse=True)
    assert (out / "text").read_text() == (out / "1best_recog" / "text").read_text()
    described = yaml.safe_load((out / "decode.yaml").read_text())
    assert described["context"] == "full" and described["algorithmic_latency_ms"] is None


def test_one_bad_utterance_keeps_the_others(decode, corpus, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    good = (corpus.parent / "train4.wav").read_bytes()
    (corpus.parent / "train4.wav").write_bytes(good[:2000])
    arguments = ["--subnet", "device", "--output_dir", out]
    with pytest.raises(DataError, match=r"1 of 8 utterances not decoded: train4.*truncated"):
        decode(*arguments, scp=corpus)
    assert not (out / "text").exists() and (out / ".partial.jsonl").exists()

    (corpus.parent / "train4.wav").write_bytes(good)
    with open(out / ".partial.jsonl", "a") as log:
        log.write('{"key": "train4", "nb')  # a kill in the middle of a line
    decoded = []
    original = asr_inference.decode_one
    monkeypatch.setattr(
        asr_inference, "decode_one", lambda *args: decoded.append(args[1].stem) or original(*args)
    )
    decode(*arguments, scp=corpus)
    assert decoded == ["train4"]
    assert len(table(out / "text")) == 8 and not (out / ".partial.jsonl").exists()
    assert "7 utterances were decoded before" in capsys.readouterr().err


def test_a_full_disk_is_told(decode, corpus, tmp_path, monkeypatch):
    original = _decode_output.PartialLog._read

    def read(self, head):
        monkeypatch.setattr(_decode_output, "open", lambda *_, **__: open("/dev/full", "w"), False)
        return original(self, head)

    monkeypatch.setattr(_decode_output.PartialLog, "_read", read)
    with pytest.raises(DataError, match="No space left on device.*free some space and rerun"):
        decode("--output_dir", tmp_path / "out", scp=corpus)
    assert not (tmp_path / "out" / "text").exists()


def test_other_settings_do_not_continue_a_decode(decode, corpus, tmp_path):
    out = tmp_path / "out"
    (corpus.parent / "train4.wav").unlink()
    with pytest.raises(DataError, match="no such audio file"):
        decode("--subnet", "device", "--output_dir", out, scp=corpus)
    before = (out / ".partial.jsonl").read_text().splitlines()
    with pytest.raises(DataError):
        decode("--subnet", "server", "--output_dir", out, scp=corpus)
    after = (out / ".partial.jsonl").read_text().splitlines()
    assert len(before) == len(after) == 8 and before[0] != after[0]
    assert '"subnet": "server"' in after[0]


def test_transcribes_a_file_a_folder_and_a_table(decode, corpus, capsys):
    folder = corpus.parent
    for given, count in ((folder / "train0.wav", 1), (folder, 8), (corpus, 8)):
        decode("--input", given, "--subnet", "device")
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == count
        assert any(line.startswith("train0 ") for line in lines)


def test_names_in_a_folder_stay_apart(decode, corpus, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "a b").mkdir(parents=True)
    wave = soundfile.read(corpus.parent / "train0.wav")[0]
    for name in ("a b/x.wav", "y.wav", "y.flac"):
        soundfile.write(folder / name, wave, 16000)
    decode("--input", folder)
    names = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["a_b/x.wav", "y.flac", "y.wav"]


def test_print_config_is_a_config(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        asr_inference.main(["--print_config", "--beam_size", "7", "--subnet", "device"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    (tmp_path / "c.yaml").write_text(printed)
    with pytest.raises(SystemExit):
        asr_inference.main(["--print_config", "--config", str(tmp_path / "c.yaml")])
    assert capsys.readouterr().out == printed
    assert yaml.safe_load(printed)["beam_size"] == 7
