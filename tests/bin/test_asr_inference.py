"""The decoding command: files, resume, transcription, and bad input."""

import shutil

import numpy as np
import pytest
import soundfile
import yaml

from espnet2_supernet.bin import _decode_output, asr_inference, run_main
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError

FILES = ("text", "token", "token_int", "score", "token_time")


def decode(model, *options):
    asr_inference.main(["--asr_model_file", str(model / "valid.loss.ave.pth"), *map(str, options)])


def data(scp):
    return ["--data_path_and_name_and_type", f"{scp},speech,sound"]


def table(path):
    return dict(line.partition(" ")[::2] for line in path.read_text().splitlines())


@pytest.fixture
def corpus(tiny_corpus, tmp_path):
    """Copy the tiny training set, so that a test may spoil it; return its wav.scp."""
    folder = tmp_path / "set"
    shutil.copytree(tiny_corpus.root / "train", folder)
    names = sorted(path.stem for path in folder.glob("*.wav"))
    scp = folder / "wav.scp"
    scp.write_text("".join(f"{name} {folder / name}.wav\n" for name in reversed(names)))
    return scp


def test_writes_espnets_files_sorted(random_model, corpus, tmp_path):
    out = tmp_path / "decode" / "set"
    decode(random_model, "--subnet", "device", *data(corpus), "--output_dir", out)
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


def test_streamed_and_masked_write_the_same(random_model, corpus, tmp_path):
    for mode in ("masked", "streamed"):
        decode(random_model, "--subnet", "device", *data(corpus), "--mode", mode,
               "--output_dir", tmp_path / mode)  # fmt: skip
    for name in ("text", "token", "token_int", "token_time"):
        masked, streamed = ((tmp_path / m / name).read_text() for m in ("masked", "streamed"))
        assert masked == streamed


def test_beam_nbest_and_key_file(random_model, corpus, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("train3\ntrain1 anything\n")
    out = tmp_path / "out"
    config = tmp_path / "decode.yaml"
    config.write_text("search: beam\nbeam_size: 4\nnbest: 1\nallow_untrained: false\n")
    decode(random_model, "--config", config, "--nbest", 3, "--subnet", "server", *data(corpus),
           "--key_file", keys, "--output_dir", out)  # fmt: skip
    assert list(table(out / "text")) == ["train1", "train3"]
    scores = [float(table(out / f"{n}best_recog" / "score")["train1"]) for n in (1, 2, 3)]
    assert scores == sorted(scores, reverse=True)
    assert (out / "text").read_text() == (out / "1best_recog" / "text").read_text()
    described = yaml.safe_load((out / "decode.yaml").read_text())
    assert described["context"] == "full" and described["algorithmic_latency_ms"] is None


def test_one_bad_utterance_keeps_the_others(random_model, corpus, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    good = (corpus.parent / "train4.wav").read_bytes()
    (corpus.parent / "train4.wav").write_bytes(good[:2000])
    arguments = ["--subnet", "device", *data(corpus), "--output_dir", out]
    with pytest.raises(DataError, match=r"1 of 8 utterances not decoded: train4.*truncated"):
        decode(random_model, *arguments)
    assert not (out / "text").exists() and (out / ".partial.jsonl").exists()

    (corpus.parent / "train4.wav").write_bytes(good)
    with open(out / ".partial.jsonl", "a") as log:
        log.write('{"key": "train4", "nb')  # a kill in the middle of a line
    decoded = []
    original = asr_inference.decode_one
    monkeypatch.setattr(
        asr_inference, "decode_one", lambda *args: decoded.append(args[1].stem) or original(*args)
    )
    decode(random_model, *arguments)
    assert decoded == ["train4"]
    assert len(table(out / "text")) == 8 and not (out / ".partial.jsonl").exists()
    assert "7 utterances were decoded before" in capsys.readouterr().err


def test_a_full_disk_is_told(random_model, corpus, tmp_path, monkeypatch):
    original = _decode_output.PartialLog._read

    def read(self, head):
        monkeypatch.setattr(_decode_output, "open", lambda *_, **__: open("/dev/full", "w"), False)
        return original(self, head)

    monkeypatch.setattr(_decode_output.PartialLog, "_read", read)
    with pytest.raises(DataError, match="No space left on device.*free some space and rerun"):
        decode(random_model, *data(corpus), "--output_dir", tmp_path / "out")
    assert not (tmp_path / "out" / "text").exists()


def test_other_settings_do_not_continue_a_decode(random_model, corpus, tmp_path):
    out = tmp_path / "out"
    (corpus.parent / "train4.wav").unlink()
    with pytest.raises(DataError, match="no such audio file"):
        decode(random_model, "--subnet", "device", *data(corpus), "--output_dir", out)
    before = (out / ".partial.jsonl").read_text().splitlines()
    with pytest.raises(DataError):
        decode(random_model, "--subnet", "server", *data(corpus), "--output_dir", out)
    after = (out / ".partial.jsonl").read_text().splitlines()
    assert len(before) == len(after) == 8 and before[0] != after[0]
    assert '"subnet": "server"' in after[0]


def test_transcribes_a_file_a_folder_and_a_table(random_model, corpus, capsys):
    folder = corpus.parent
    for given, count in ((folder / "train0.wav", 1), (folder, 8), (corpus, 8)):
        decode(random_model, "--input", given, "--subnet", "device")
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == count
        assert any(line.startswith("train0 ") for line in lines)


def test_names_in_a_folder_stay_apart(random_model, corpus, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "a b").mkdir(parents=True)
    wave = soundfile.read(corpus.parent / "train0.wav")[0]
    for name in ("a b/x.wav", "y.wav", "y.flac"):
        soundfile.write(folder / name, wave, 16000)
    decode(random_model, "--input", folder)
    names = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["a_b/x.wav", "y.flac", "y.wav"]


BAD_AUDIO = {
    "rate": (np.zeros(8000), 8000, "sampling rate 8000 Hz, 16000 expected"),
    "stereo": (np.zeros((8000, 2)), 16000, "2 channels"),
    "empty": (np.zeros(0), 16000, "no samples"),
    "nan": (np.full(8000, np.nan), 16000, "NaN"),
}


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_bad_audio(random_model, tmp_path, kind, capsys):
    samples, rate, message = BAD_AUDIO[kind]
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    with pytest.raises(DataError, match=message):
        decode(random_model, "--input", path)
    assert capsys.readouterr().out == ""


def test_long_audio_is_refused_for_full_context_only(random_model, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 301), 16000)
    with pytest.raises(DataError, match="longer"):
        decode(random_model, "--input", path, "--subnet", "server")
    decode(random_model, "--input", path, "--subnet", "device", "--mode", "streamed",
           "--piece_ms", 5000)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--subnet", "phone"], "no subnet 'phone'; this supernet has: server, device"),
        (["--subnet", "device", "--chunk_size", "3"], "not trained for chunk 3"),
        (["--subnet", "device", "--chunk_size", "full"], "not trained for full context"),
        (["--subnet", "device", "--use", "rnnt"], "trained without an RNN-T"),
        (["--subnet", "server", "--mode", "streamed"], "full context and cannot stream"),
        (["--nbest", "2"], "needs search: beam"),
        (["--ngpu", "2"], "one GPU at most"),
        (["--piece_ms", "0"], "must be positive"),
        (["--beam_size", "0"], "beam_size"),
        (["--lm_file", "lm.pth"], "both lm_train_config and lm_file"),
        (["--dtype", "float64", "--token_type", "bpe", "--bpemodel", "none"], "no such file: none"),
    ],
)
def test_bad_options(random_model, corpus, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        decode(random_model, *data(corpus), "--output_dir", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_an_untrained_chunk_can_be_allowed(random_model, corpus, tmp_path):
    decode(random_model, *data(corpus), "--output_dir", tmp_path, "--subnet", "device",
           "--chunk_size", 3, "--allow_untrained", "true")  # fmt: skip
    context = yaml.safe_load((tmp_path / "decode.yaml").read_text())["context"]
    assert context == {"chunk_size": 3, "left_context": 4, "right_context": 0}


def test_bad_tables_and_files(random_model, corpus, tmp_path):
    out = ["--output_dir", tmp_path / "out"]
    corpus.write_text(corpus.read_text() + "train0 again.wav\n")
    with pytest.raises(DataError, match="duplicate utterance id 'train0'"):
        decode(random_model, *data(corpus), *out)
    corpus.write_text("train0 sox a.wav -t wav - |\n")
    with pytest.raises(DataError, match="shell command"):
        decode(random_model, *data(corpus), *out)
    corpus.write_text("train0 a.wav\n")
    (tmp_path / "keys").write_text("train9\n")
    with pytest.raises(DataError, match="'train9' is not in"):
        decode(random_model, *data(corpus), *out, "--key_file", tmp_path / "keys")
    with pytest.raises(DataError, match="no such file"):
        decode(random_model, *data(tmp_path / "none.scp"), *out)
    with pytest.raises(DataError, match="no audio files"):
        (tmp_path / "void").mkdir()
        decode(random_model, "--input", tmp_path / "void")
    for options in ([], ["--input", corpus, *data(corpus)], data(corpus),
                    ["--data_path_and_name_and_type", "a,text,text", *out]):  # fmt: skip
        with pytest.raises(ConfigError):
            decode(random_model, *options)
    with pytest.raises(CheckpointError, match="asr_train_config: no such file"):
        decode(tmp_path, "--input", corpus)


def test_config_file(random_model, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("beam_sise: 3\n")
    with pytest.raises(ConfigError, match="unknown key 'beam_sise'; did you mean 'beam_size'"):
        decode(random_model, "--config", config)
    config.write_text("search: fast\n")
    with pytest.raises(SystemExit):
        decode(random_model, "--config", config)
    assert "invalid choice: 'fast'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cannot be read"):
        decode(random_model, "--config", tmp_path / "none.yaml")


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


def test_a_typo_in_an_option_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        asr_inference.main(["--subnett", "x"])
    assert stop.value.code == 2


def test_errors_are_one_line_and_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run_main(lambda: asr_inference.main(["--input", str(tmp_path / "none.wav")]))
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: --input")
