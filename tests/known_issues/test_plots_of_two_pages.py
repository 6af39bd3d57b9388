"""Two pages of results in one folder overwrote each other's plots."""

from pathlib import Path

from espnet2_supernet.bin.report import draw_plots
from espnet2_supernet.report.latency import MeasuredLatency
from espnet2_supernet.report.results import Decode


def test_each_page_has_its_own(tmp_path):
    row = Decode(Path("exp"), "decode_a", "a", "a", {}, None, None, MeasuredLatency(), "")
    one = draw_plots([row], [], [], tmp_path / "RESULTS.md")
    other = draw_plots([row], [], [], tmp_path / "RESULTS_PRUNING.md")
    assert list(one.values()) == ["images/wer_by_subnet.png"]
    assert list(other.values()) == ["images/RESULTS_PRUNING/wer_by_subnet.png"]
    assert all((tmp_path / path).is_file() for path in [*one.values(), *other.values()])
