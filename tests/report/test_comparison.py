"""The table and the plots that join several experiments."""

import json
import shutil

import pytest

from espnet2_supernet.bin import report
from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.comparison import compared_rows, deployed_size
from espnet2_supernet.report.comparison_table import comparison_table
from espnet2_supernet.report.pareto_plot import plot_pareto
from espnet2_supernet.report.reference import Reference
from espnet2_supernet.report.results import collect
from espnet2_supernet.report.speed import read_latency

CHUNK = {"chunk_size": 16, "left_context": 64, "right_context": 0}


def speed_row(experiment, subnet, factor, engine="torch", **more):
    return {
        "label": f"{experiment}/{subnet} {engine}", "experiment": f"../{experiment}",
        "subnet": subnet, "engine": engine, "precision": "fp32", "search": "greedy",
        "context": "full" if subnet == "server" else CHUNK, "bytes_on_disk": 2_000_000,
        "real_time_factor": {"cpu": {"total": factor, "encoder": factor / 2}}, **more,
    }  # fmt: skip


@pytest.fixture
def joint(expdir):
    """Two experiments of equal WER, measured together: b is twice as fast and drops frames."""
    other = shutil.copytree(expdir, expdir.with_name("asr_y"))
    extracted = other / "extracted_device"
    extracted.mkdir()
    (extracted / "extract.json").write_text('{"parameters": 500, "nonzero": 450}')
    (other / "training_cost.json").write_text('{"own": 1000, "chain": 3000}')
    rows = [
        speed_row("asr_x", "server", 0.02), speed_row("asr_x", "device", 0.04),
        speed_row("asr_x", "device", 0.005, "runtime"),
        speed_row("asr_y", "server", 0.01), speed_row("asr_y", "device", 0.02, keep_ratio=0.5),
    ]  # fmt: skip
    path = expdir.parent / "latency" / "latency.json"
    path.parent.mkdir()
    machine = {"cpu": "EPYC", "threads": 1}
    path.write_text(json.dumps({"format": 1, "machine": machine, "rows": rows}))
    return [expdir, other], path


def test_the_table_joins_what_is_known(joint):
    expdirs, path = joint
    decodes = collect(expdirs, read_latency(path))
    lines = comparison_table(compared_rows(decodes, Reference(expdirs[0])), ["dev"])
    rows = [dict(zip(lines[0].split("|"), line.split("|"), strict=True)) for line in lines[2:]]
    assert [row["row"] for row in rows] == [f"{name}/{subnet}_greedy" for name in ("asr_x", "asr_y")
                                            for subnet in ("server", "device")]  # fmt: skip
    assert [row["speed, reference = 1"] for row in rows] == ["1.00", "1.00", "2.00", "2.00"]
    assert [row["of the reference"] for row in rows] == ["1.00", "1.00", "1.00", "0.50"]
    assert [row["frames kept"] for row in rows] == ["", "", "", "50.0 %"]
    assert [row["real-time factor, runtime"] for row in rows] == ["", "0.0050", "", ""]
    assert rows[3]["encoder alone"] == "0.0100" and rows[3]["non-zeros"] == "450"
    assert rows[3]["training (1000 block-updates: own / with all before it)"] == "1.0 / 3.0"
    assert [row["Pareto-optimal"] for row in rows] == ["", "", "yes", "yes"], "y is faster"
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_columns_without_a_number_are_left_out(joint):
    expdirs, _ = joint
    decodes = collect(expdirs[:1])
    head = comparison_table(compared_rows(decodes, Reference(expdirs[0])), ["dev", "test"])[0]
    assert "factor" not in head and "Pareto" not in head and "WER test (%)" in head


def test_two_runs_are_not_compared(joint):
    expdirs, path = joint
    for expdir in expdirs:
        (expdir / "latency").mkdir()
        shutil.copy(path, expdir / "latency" / "latency.json")
    rows = compared_rows(collect(expdirs), Reference(expdirs[0]))
    assert [row.speed for row in rows] == [1.0, 1.0, None, None]


def test_a_damaged_size_is_an_error(joint):
    expdirs, _ = joint
    (expdirs[1] / "extracted_device" / "extract.json").write_text("{}")
    with pytest.raises(DataError, match="extract again"):
        deployed_size(collect(expdirs)[3])


def test_the_page(joint, tmp_path):
    expdirs, path = joint
    out = tmp_path / "page" / "RESULTS_ALL.md"
    command = ["--expdir", *map(str, expdirs), "--latency", str(path), "--out", str(out),
               "--bootstrap_resamples", "100"]  # fmt: skip
    report.main([*command, "--reference", str(expdirs[0])])
    page = out.read_text()
    assert page.index("## Comparison") < page.index("## asr_x")
    assert "The reference of a row: asr_x/server_greedy, asr_x/device_greedy." in page
    assert "come from" not in page and page.count("## Speed and latency") == 1
    assert "|dev|asr_y/device_greedy|asr_x/device_greedy|" in page
    assert page.count("|dev|asr") == 2, "against the reference alone"
    for name in ("pareto_factor_dev", "pareto_parameters_test"):
        assert f"](images/RESULTS_ALL/{name}.png)" in page
        assert (out.parent / f"images/RESULTS_ALL/{name}.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match="--against: unknown key 'asr_z'"):
        report.main([*command, "--against", "asr_z"])


def test_nothing_to_plot(joint, tmp_path):
    expdirs, _ = joint
    rows = compared_rows(collect(expdirs), Reference(expdirs[0]))
    assert not plot_pareto(rows, "dev", "factor", tmp_path / "a.png")
    assert plot_pareto(rows, "dev", "parameters", tmp_path / "b.png")
