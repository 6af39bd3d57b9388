"""The report command: from scored decodes to RESULTS.md and plots."""

import subprocess
import sys

import pytest

from espnet2_supernet.bin import report, score
from espnet2_supernet.errors import SupernetError


def scored(expdir, names=("server", "device"), spoken="ONE TWO THREE FOUR"):
    expdir.mkdir(parents=True, exist_ok=True)
    keys = [f"s{i % 3}-{i}" for i in range(12)]
    (expdir / "text").write_text("".join(f"{key} {spoken}\n" for key in keys))
    (expdir / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in keys))
    for step, name in enumerate(names, 2):
        out = expdir / f"decode_{name}" / "test"
        out.mkdir(parents=True)
        heard = [spoken if i % step else "ONE" for i in range(len(keys))]
        (out / "text").write_text("".join(f"{k} {h}\n" for k, h in zip(keys, heard, strict=True)))
        score.main(["--ref", f"{expdir}/text", "--hyp", f"{out}/text", "--utt2spk",
                    f"{expdir}/utt2spk", "--out", str(out), "--scorer", "python",
                    "--bootstrap_resamples", "100"])  # fmt: skip
    return expdir


def test_results_and_plots_are_written(tmp_path, capsys):
    expdir = scored(tmp_path / "asr_x")
    (expdir / "images").mkdir()
    (expdir / "images" / "layer_sparsity_device.png").write_bytes(b"")
    report.main(["--expdir", str(expdir), "--bootstrap_resamples", "100"])
    page = (expdir / "RESULTS.md").read_text()
    assert "|test|device|server|" in page
    assert "](images/wer_by_subnet.png)" in page
    assert "](images/layer_sparsity_device.png)" in page
    assert "wer_vs_nonzero" not in page  # no subnets.json: no sizes
    assert f"python -m espnet2_supernet.bin.report --expdir {expdir}" in page
    assert page.count(f"--hyp {expdir}/decode_server/test/text") == 1
    assert (expdir / "images" / "wer_by_subnet.png").stat().st_size > 5000
    assert f"wrote {expdir}/RESULTS.md" in capsys.readouterr().out


def test_several_experiments_share_one_table(tmp_path):
    expdirs = [scored(tmp_path / name, ["server"]) for name in ("asr_a", "asr_b")]
    out = tmp_path / "elsewhere" / "RESULTS.md"
    report.main(["--expdir", *map(str, expdirs), "--out", str(out), "--plots", "false"])
    page = out.read_text()
    assert "## asr_a" in page
    assert "## asr_b" in page
    assert "|test|asr_a/server|asr_b/server|+0.00|[+0.00, +0.00]|1.0000|" in page
    assert not (out.parent / "images").exists()


def test_characters_can_count_instead_of_words(tmp_path):
    """Of 18 characters four words have, the last three words have 15, spaces counted."""
    expdirs = [scored(tmp_path / name, ["server"]) for name in ("asr_a", "asr_b")]
    command = ["--expdir", *map(str, expdirs), "--bootstrap_resamples", "100"]
    for metric, rate in (("wer", 37.5), ("cer", 100 * 6 * 15 / (12 * 18))):
        out = tmp_path / f"{metric}.md"
        report.main([*command, "--metric", metric, "--out", str(out)])
        page = out.read_text()
        assert f"|row|{metric.upper()} test (%)|" in page and f"|asr_a/server|{rate:.2f} [" in page
        assert f"## Paired tests between rows ({metric.upper()})" in page
        assert f"{metric.upper()} A - B (points)" in page
        assert f"images/{metric}/{metric}_by_subnet.png" in page
    assert "WER" not in page.replace("### WER", "")


def test_different_references_are_refused(tmp_path):
    expdirs = [scored(tmp_path / "asr_a", ["server"]), scored(tmp_path / "asr_b", ["server"], "A")]
    with pytest.raises(SupernetError, match="different references"):
        report.main(["--expdir", *map(str, expdirs)])


def test_nothing_scored_exits_with_1(tmp_path):
    command = [sys.executable, "-m", "espnet2_supernet.bin.report", "--expdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "RESULTS.md").exists()
