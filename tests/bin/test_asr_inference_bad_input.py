"""The decoding command refuses bad audio, options, tables and files, and says why."""

import numpy as np
import pytest
import soundfile
import yaml

from espnet2_supernet.bin import asr_inference, run_main
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError

BAD_AUDIO = {
    "rate": (np.zeros(8000), 8000, "sampling rate 8000 Hz, 16000 expected"),
    "stereo": (np.zeros((8000, 2)), 16000, "2 channels"),
    "empty": (np.zeros(0), 16000, "no samples"),
    "nan": (np.full(8000, np.nan), 16000, "NaN"),
}


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_bad_audio(decode, tmp_path, kind, capsys):
    samples, rate, message = BAD_AUDIO[kind]
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    with pytest.raises(DataError, match=message):
        decode("--input", path)
    assert capsys.readouterr().out == ""


def test_long_audio_is_refused_for_full_context_only(decode, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 301), 16000)
    with pytest.raises(DataError, match="longer"):
        decode("--input", path, "--subnet", "server")
    decode("--input", path, "--subnet", "device", "--mode", "streamed", "--piece_ms", 5000)


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
def test_bad_options(decode, corpus, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        decode("--output_dir", tmp_path / "out", *options, scp=corpus)
    assert not (tmp_path / "out").exists()


def test_an_untrained_chunk_can_be_allowed(decode, corpus, tmp_path):
    decode("--output_dir", tmp_path, "--subnet", "device", "--chunk_size", 3,
           "--allow_untrained", "true", scp=corpus)  # fmt: skip
    context = yaml.safe_load((tmp_path / "decode.yaml").read_text())["context"]
    assert context == {"chunk_size": 3, "left_context": 4, "right_context": 0}


def test_bad_tables_and_files(decode, corpus, tmp_path):
    out = ["--output_dir", tmp_path / "out"]
    corpus.write_text(corpus.read_text() + "train0 again.wav\n")
    with pytest.raises(DataError, match="duplicate utterance id 'train0'"):
        decode(*out, scp=corpus)
    corpus.write_text("train0 sox a.wav -t wav - |\n")
    with pytest.raises(DataError, match="shell command"):
        decode(*out, scp=corpus)
    corpus.write_text("train0 a.wav\n")
    (tmp_path / "keys").write_text("train9\n")
    with pytest.raises(DataError, match="'train9' is not in"):
        decode(*out, "--key_file", tmp_path / "keys", scp=corpus)
    with pytest.raises(DataError, match="no such file"):
        decode(*out, scp=tmp_path / "none.scp")
    with pytest.raises(DataError, match="no audio files"):
        (tmp_path / "void").mkdir()
        decode("--input", tmp_path / "void")
    with pytest.raises(CheckpointError, match="asr_train_config: no such file"):
        asr_inference.main(["--asr_model_file", str(tmp_path / "x.pth"), "--input", str(corpus)])


def test_one_kind_of_input_and_an_output_are_needed(decode, corpus, tmp_path):
    for options in ([], ["--data_path_and_name_and_type", "a,text,text", "--output_dir", tmp_path]):
        with pytest.raises(ConfigError):
            decode(*options)
    for options in (["--input", corpus], []):
        with pytest.raises(ConfigError):
            decode(*options, scp=corpus)


def test_config_file(decode, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("beam_sise: 3\n")
    with pytest.raises(ConfigError, match="unknown key 'beam_sise'; did you mean 'beam_size'"):
        decode("--config", config)
    config.write_text("search: fast\n")
    with pytest.raises(SystemExit):
        decode("--config", config)
    assert "invalid choice: 'fast'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cannot be read"):
        decode("--config", tmp_path / "none.yaml")


def test_a_typo_in_an_option_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        asr_inference.main(["--subnett", "x"])
    assert stop.value.code == 2


def test_errors_are_one_line_and_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run_main(lambda: asr_inference.main(["--input", str(tmp_path / "none.wav")]))
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: --input")
