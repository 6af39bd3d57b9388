import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_supernet.bin.data import get_parser, main
from espnet2_supernet.data.datadir import read_data_dir
from espnet2_supernet.errors import DataError

SUBCOMMANDS = (
    "download",
    "an4",
    "librispeech",
    "mini_speech",
    "combine",
    "subset",
    "validate",
    "perturb_speed",
    "format",
    "filter",
    "tokens",
)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        soundfile.write(folder / f"u{i}.wav", rng.uniform(-0.1, 0.1, 8000), 16000)
    (folder / "wav.scp").write_text("".join(f"u{i} {folder}/u{i}.wav\n" for i in range(3)))
    (folder / "text").write_text("u0 AB BA\nu1 A\nu2 C\n")
    (folder / "utt2spk").write_text("u0 s\nu1 s\nu2 s\n")
    return folder


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_shows_defaults(name, capsys):
    with pytest.raises(SystemExit) as caught:
        get_parser().parse_args([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "default:" in out or name in ("combine", "subset")


@pytest.mark.parametrize(
    "cmd",
    [
        [],
        ["an4", "--corpus", "x", "--tset", "true"],
        ["an4", "--corpus", "x", "--test", "yes"],
        ["an4", "--corpus", "x", "--part", "true"],
        ["format", "--in", "x"],
        ["format", "--in", "x", "--out", "y", "--nj", "0"],
        ["tokens", "--text", "x", "--out", "y", "--character_coverage", "nan"],
        ["tokens", "--text", "x", "--out", "y", "--character_coverage", "2"],
    ],
)
def test_a_typo_is_an_error(cmd, capsys):
    with pytest.raises(SystemExit) as caught:
        main(cmd)
    assert caught.value.code == 2


def test_stages_of_a_recipe(data, tmp_path, capsys):
    org, dump, out = tmp_path / "org", tmp_path / "dump", tmp_path / "tokens"
    main(["validate", "--in", str(data), "--check_audio", "true", "--nj", "1"])
    main(["perturb_speed", "--in", str(data), "--out", str(tmp_path / "sp"), "--nj", "1"])
    main(["format", "--in", str(tmp_path / "sp"), "--out", str(org), "--nj", "1"])
    main(["filter", "--in", str(org), "--out", str(dump), "--max_duration", "0.55"])
    main(["tokens", "--text", str(dump / "text"), "--out", str(out), "--token_type", "char"])
    assert len(read_data_dir(dump)) == 6
    assert (out / "tokens.txt").read_text().split() == [
        "<blank>",
        "<unk>",
        "A",
        "B",
        "<space>",
        "C",
        "<sos/eos>",
    ]
    assert "3 utterance(s) dropped" in capsys.readouterr().out


def test_combine_and_subset(data, tmp_path):
    main(["subset", "--in", str(data), "--out", str(tmp_path / "a"), "--first", "1"])
    (tmp_path / "ids").write_text("u2\nu1\n")
    main(
        [
            "subset",
            "--in",
            str(data),
            "--out",
            str(tmp_path / "b"),
            "--utt_list",
            str(tmp_path / "ids"),
        ]
    )
    main(
        ["combine", "--in", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c")]
    )
    assert read_data_dir(tmp_path / "c") == read_data_dir(data)
    main(["subset", "--in", str(data), "--out", str(tmp_path / "d"), "--last", "2"])
    assert list(read_data_dir(tmp_path / "d").wav) == ["u1", "u2"]
    with pytest.raises(DataError, match="3 utterances, 4 wanted"):
        main(["subset", "--in", str(data), "--out", str(tmp_path / "e"), "--last", "4"])
    (tmp_path / "ids").write_text("u9\n")
    with pytest.raises(DataError, match="'u9' is no utterance"):
        main(
            [
                "subset",
                "--in",
                str(data),
                "--out",
                str(tmp_path / "e"),
                "--utt_list",
                str(tmp_path / "ids"),
            ]
        )


def test_stages_of_a_corpus_without_text(data, tmp_path, capsys):
    """What stages 1 to 4 do for pre-training; a set with transcripts may be among them."""
    (data / "text").unlink()
    (data / "utt2spk").unlink()
    with pytest.raises(DataError, match="text: no such file"):
        main(["validate", "--in", str(data)])
    only = ("--audio_only", "true")
    main(["validate", "--in", str(data), *only])
    assert "3 utterances, audio only" in capsys.readouterr().out
    main(["perturb_speed", "--in", str(data), "--out", str(tmp_path / "sp"), "--nj", "1", *only])
    main(["format", "--in", str(tmp_path / "sp"), "--out", str(tmp_path / "org"), *only])
    dump, told = tmp_path / "dump", tmp_path / "told"
    main(["filter", "--in", str(tmp_path / "org"), "--out", str(dump), *only])
    told.mkdir()
    (told / "wav.scp").write_text(f"t0 {data}/u0.wav\n")
    (told / "text").write_text("t0 AB\n")
    joined = ["combine", "--in", str(dump), str(told), "--out", str(tmp_path / "all")]
    with pytest.raises(DataError, match="text: no such file"):
        main(joined)
    main([*joined, *only])
    assert len(read_data_dir(tmp_path / "all", audio_only=True)) == 10
    with pytest.raises(DataError, match="told: utterance 't0' is already in .*told"):
        main(["combine", "--in", str(told), str(told), "--out", str(tmp_path / "x"), *only])
    with pytest.raises(DataError, match="--token_list needs transcripts"):
        main(["validate", "--in", str(data), "--token_list", "tokens.txt", *only])


def test_a_fraction_of_every_speaker(data, tmp_path):
    (data / "utt2spk").write_text("u0 s\nu1 s\nu2 t\n")
    cmd = ["subset", "--in", str(data), "--out", str(tmp_path / "a"), "--fraction", "0.67"]
    main(cmd)
    assert set(read_data_dir(tmp_path / "a").utt2spk.values()) == {"s", "t"}


def test_unknown_symbols_are_reported(data, tmp_path, capsys):
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\nA\n<space>\nB\n<sos/eos>\n")
    cmd = [
        "validate",
        "--in",
        str(data),
        "--token_list",
        str(tmp_path / "tokens.txt"),
        "--token_type",
        "char",
    ]
    main(cmd)
    assert "1 utterance(s), e.g. u2, hold tokens" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"'C' \(1\)"):
        main([*cmd, "--unknown", "error"])


def test_validate_finds_bad_audio_and_empty_text(data, capsys):
    soundfile.write(data / "u1.wav", np.zeros(100), 8000)
    main(["validate", "--in", str(data)])
    with pytest.raises(DataError, match="1 of 3 utterances have bad audio"):
        main(["validate", "--in", str(data), "--check_audio", "true", "--nj", "1"])
    assert "utterance 'u1'" in capsys.readouterr().err
    (data / "text").write_text("u0 A\nu1\nu2 C\n")
    with pytest.raises(DataError, match="utterance 'u1' has no value"):
        main(["validate", "--in", str(data), "--allow_empty_text", "false"])
    main(["validate", "--in", str(data)])
    assert "1 transcript(s) without words, e.g. u1" in capsys.readouterr().err


def test_format_warns_of_what_it_skipped(data, tmp_path, capsys):
    (data / "u1.wav").write_bytes(b"RIFF")
    main(
        [
            "format",
            "--in",
            str(data),
            "--out",
            str(tmp_path / "dump"),
            "--max_skipped",
            "0.5",
            "--nj",
            "1",
        ]
    )
    assert "1 bad utterance(s) skipped" in capsys.readouterr().err


def test_options_that_go_together(tmp_path):
    for cmd, message in (
        (["download", "--corpus", "librispeech"], "needs --subset"),
        (["download", "--corpus", "an4", "--subset", "x"], "librispeech only"),
        (
            ["librispeech", "--corpus", "x", "--subset", "y", "--out", "z", "--split_out", "w"],
            "go together",
        ),
    ):
        with pytest.raises(DataError, match=message):
            main(cmd)


def test_bad_data_ends_with_one_line_and_status_1(tmp_path):
    cmd = [
        sys.executable,
        "-m",
        "espnet2_supernet.bin.data",
        "format",
        "--in",
        "nowhere",
        "--out",
        str(tmp_path),
    ]
    root = Path(__file__).parents[2]
    result = subprocess.run(cmd, cwd=root, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "error: nowhere: no such data directory; run the data stage first\n"


def test_files_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="subset: "):
        main(["subset", "--in", str(data), "--out", str(tmp_path / "file" / "x"), "--first", "1"])


def test_neither_torch_nor_espnet_is_loaded():
    code = (
        "import sys, espnet2_supernet.bin.data as d; d.get_parser(); "
        "assert not {'torch', 'espnet2', 'espnet', 'scipy'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
