"""Speed measurements in the report: matched with decodes, tabled, plotted, refused when damaged."""

import json
from pathlib import Path

import pytest

from espnet2_supernet.bin import report
from espnet2_supernet.errors import DataError
from espnet2_supernet.report.results import collect
from espnet2_supernet.report.speed import SpeedReport, SpeedRow, measured_latency, read_speed
from espnet2_supernet.report.speed_plots import plot_wer_against_bytes, plot_wer_against_factor
from espnet2_supernet.report.speed_table import delay_table, speed_section, speed_table

CHUNK = {"chunk_size": 16, "left_context": 64, "right_context": 0}


def row(label, context=CHUNK, **changes):
    times = {"median": 8.0, "p90": 9.0, "p99": 9.5}
    values = {
        "label": label, "subnet": "device", "engine": "torch", "precision": "fp32",
        "context": context, "search": "greedy", "beam_size": 10, "use": "ctc",
        "algorithmic_latency_ms": None if context == "full" else 655.0,
        "bytes_on_disk": 13_000_000, "peak_memory_bytes": 400_000_000,
        "real_time_factor": {clock: {"total": factor, "features": 0.001, "encoder": 0.01,
                                     "decoder": 0.002}
                             for clock, factor in (("cpu", 0.0199), ("wall", 0.14))},
        "chunk_ms": None if context == "full" else {"cpu": times, "wall": times, "chunks": 34},
        "finish_ms": {"cpu": times, "wall": times},
        "accuracy": {"wer": 10.2, "interval": {"low": 8.0, "high": 12.5}},
        "token_delay_ms": {"tokens": 106, "all": {"median": 295.0, "p90": 555.0},
                           **{part: {"median": 175.0, "p90": 219.0}
                              for part in ("first", "last", "model")}},
        "differing_from_torch_fp32": 0,
    }  # fmt: skip
    return {**values, **changes}


def content(*rows, **changes):
    machine = {"cpu": "EPYC", "features": ["avx2"], "threads": 1, "core": 1,
               "foreign_load": [0.02, 0.03]}  # fmt: skip
    return {
        "format": 1, "machine": {**machine, **changes}, "rows": list(rows), "utterances": 10,
        "audio_seconds": 24.0, "repeats": 3, "date": "today", "command": "measure it",
    }  # fmt: skip


ROWS = [
    row("server torch_fp32", "full", subnet="server"),
    row("device torch_fp32"),
    row("device torch_int8", precision="int8", bytes_on_disk=5_000_000),
    {"label": "device openvino_int8", "not_measured": "openvino is not installed"},
]


@pytest.fixture
def measured(expdir):
    (expdir / "latency").mkdir()
    (expdir / "latency" / "latency.json").write_text(json.dumps(content(*ROWS)))
    return expdir


def test_a_decode_finds_the_row_of_its_subnet(measured):
    found = read_speed(measured)
    decode = {"subnet": "device", "context": CHUNK, "search": "greedy", "use": "ctc"}
    latency = measured_latency(found, decode)
    assert latency.delay_text == "295 / 555"
    assert latency.real_time_factor_text == "0.020 (EPYC, 1 thread)"
    for change in ({"subnet": "phone"}, {"use": "rnnt"}, {"context": {**CHUNK, "chunk_size": 8}},
                   {"search": "beam"}, {"context": "full"}):  # fmt: skip
        assert measured_latency(found, {**decode, **change}).real_time_factor is None
    full = {"chunk_size": None, "left_context": 0, "right_context": 0}
    server = {**decode, "subnet": "server", "context": full}
    assert measured_latency(found, server).delay_median_ms == 295
    assert measured_latency(None, decode).delay_text == "-"


def test_beam_sizes_must_agree():
    beam = row("beam", search="beam", beam_size=4)
    report_of = SpeedReport(Path("exp"), [SpeedRow("beam", beam)], {}, {})
    decode = {"subnet": "device", "context": CHUNK, "search": "beam", "use": "ctc", "beam_size": 4}
    assert measured_latency(report_of, decode).real_time_factor == 0.0199
    assert measured_latency(report_of, {**decode, "beam_size": 10}).real_time_factor is None


def test_the_tables(measured):
    rows = read_speed(measured).rows
    lines = speed_table(rows)
    assert len(lines) == 2 + len(ROWS)
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "|10.20 [8.00, 12.50]|0.0199|0.1400|0.0010 / 0.0100 / 0.0020|" in lines[3]
    assert "|8.00 / 9.00 / 9.50|" in lines[3] and "|400.0|13.0|0|" in lines[3]
    assert "|-|-|8.00|" in lines[2], "full context has no chunks"
    assert "not measured: openvino is not installed" in lines[5]
    delays = delay_table(rows)
    assert len(delays) == 2 + 3
    assert "|utterance|295 / 555|175 / 219|" in delays[2] and "|655 ms|" in delays[3]


def test_foreign_load_is_told(measured):
    text = "\n".join(speed_section([read_speed(measured)]))
    assert "Others used 2 % of the core meanwhile." in text
    busy = json.dumps(content(*ROWS, foreign_load=[0.5, 0.9, 0.8]))
    (measured / "latency" / "latency.json").write_text(busy)
    text = "\n".join(speed_section([read_speed(measured)]))
    assert "Others used 80 % of the core meanwhile: believe the CPU time" in text
    assert speed_section([]) == []


def test_results_page_has_section_columns_and_plots(measured):
    path = measured / "decode_device_greedy" / "dev" / "decode.yaml"
    for path in measured.glob("decode_device_greedy/*/decode.yaml"):
        path.write_text(path.read_text() + "use: ctc\n")
    assert collect([measured])[-1].measured.delay_text == "295 / 555"
    report.main(["--expdir", str(measured), "--bootstrap_resamples", "100"])
    page = (measured / "RESULTS.md").read_text()
    assert "## Speed and latency" in page and "|295 / 555|0.020 (EPYC, 1 thread)|" in page
    assert "# speed and latency\nmeasure it" in page
    for name in ("wer_vs_factor.png", "wer_vs_bytes.png"):
        assert f"](images/{name})" in page
        assert (measured / "images" / name).stat().st_size > 5000


def test_nothing_to_plot(tmp_path):
    rows = [SpeedRow("a", {"label": "a", "bytes_on_disk": 5})]
    assert not plot_wer_against_factor(rows, tmp_path / "x.png")
    assert not plot_wer_against_bytes(rows, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damaged", ["{", "[]", '{"format": 2}', '{"format": 1, "rows": []}',
                '{"format": 1, "machine": {}, "rows": [{}]}']
)  # fmt: skip
def test_a_damaged_file_is_an_error(expdir, damaged):
    (expdir / "latency").mkdir()
    (expdir / "latency" / "latency.json").write_text(damaged)
    with pytest.raises(DataError, match=r"latency\.json"):
        collect([expdir])
