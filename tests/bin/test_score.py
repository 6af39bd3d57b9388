"""The score command: files, exit status, messages."""

import json
import shlex
import subprocess
import sys

import pytest

from espnet2_supernet.bin.score import main
from espnet2_supernet.errors import SupernetError
from espnet2_supernet.report import scoring
from espnet2_supernet.report.sclite import find_sclite

FILES = {
    "text": "a-1 ONE TWO THREE\na-2 FOUR\nb-1 FIVE SIX\n",
    "hyp": "b-1 FIVE SIX\na-2\na-1 ONE TO THREE\n",
    "utt2spk": "a-1 a\na-2 a\nb-1 b\n",
}


@pytest.fixture
def arguments(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return ["--ref", f"{tmp_path}/text", "--hyp", f"{tmp_path}/hyp", "--utt2spk",
            f"{tmp_path}/utt2spk", "--out", f"{tmp_path}/out",
            "--bootstrap_resamples", "100"]  # fmt: skip


def run(arguments):
    command = [sys.executable, "-m", "espnet2_supernet.bin.score", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_both_types_are_scored_and_told(arguments, tmp_path, capsys):
    main([*arguments, "--scorer", "python"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WER 33.33 % [")
    assert "3 utterances, 6 words, 2 errors (S 1 D 1 I 0), scored by python" in lines[0]
    assert lines[1].startswith("CER ")
    summary = json.loads((tmp_path / "out" / "score_wer" / "summary.json").read_text())
    command = shlex.split(summary["command"])
    assert command == ["python", "-m", "espnet2_supernet.bin.score", *arguments, "--scorer",
                       "python"]  # fmt: skip
    assert summary["inputs"]["ref"] == f"{tmp_path}/text"


@pytest.mark.skipif(find_sclite() is None, reason="sclite is not installed")
def test_sclite_and_python_give_the_same_rates(arguments, tmp_path):
    totals = []
    for scorer in ("sclite", "python"):
        main([*arguments, "--scorer", scorer])
        path = tmp_path / "out" / "score_{}" / "summary.json"
        found = [json.loads(open(str(path).format(t)).read()) for t in ("wer", "cer")]
        assert all(summary["scorer"].startswith(scorer) for summary in found)
        totals.append([summary["errors"] for summary in found])
    assert totals[0] == totals[1]


def test_absent_sclite_is_told_with_the_way_to_get_it(arguments, monkeypatch, capsys):
    monkeypatch.setattr(scoring, "find_sclite", lambda: None)
    main([*arguments, "--token_types", "wer"])
    captured = capsys.readouterr()
    assert "warning: sclite is not found" in captured.err
    assert "apt-get install sctk" in captured.err
    with pytest.raises(SupernetError, match="sclite is not found"):
        main([*arguments, "--scorer", "sclite"])


def test_a_missing_utterance_fails_and_removes_the_old_summary(arguments, tmp_path):
    main([*arguments, "--scorer", "python"])
    (tmp_path / "hyp").write_text("a-1 ONE\nb-1 FIVE\n")
    done = run(arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "1 missing: a-2" in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("out/*/summary.json"))


@pytest.mark.parametrize("extra", [["--scorrer", "python"], ["--boot", "1"], ["--scorer", "perl"]])
def test_wrong_options_exit_with_2(arguments, extra):
    done = run([*arguments, *extra])
    assert done.returncode == 2
    assert extra[0].strip("-") in done.stderr


def test_help():
    done = run(["--help"])
    assert done.returncode == 0
    assert "--bootstrap_unit" in done.stdout


def test_an_output_below_a_file_is_an_error(arguments, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(SupernetError, match="file/score_wer.*cannot be written"):
        main([*arguments, "--scorer", "python", "--out", f"{tmp_path}/file"])
    assert (tmp_path / "file").read_text() == "kept"
