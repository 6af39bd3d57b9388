"""Collecting an experiment: what is found, and what is refused."""

import json
import math

import pytest
import yaml

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.results import collect


def test_rows_come_in_the_order_of_the_subnets_with_all_they_need(scored_once):
    server, device = collect([scored_once])
    assert (server.subnet, device.subnet) == ("server", "device")
    assert server.label == "server_greedy"
    assert sorted(server.sets) == ["dev", "test"]
    assert sorted(server.sets["dev"]) == ["cer", "wer"]
    assert math.isinf(server.latency_ms)
    assert device.latency_ms == 16 * 40 + 55
    assert device.size.sparsity_prunable == pytest.approx(0.7)
    assert device.size.sparsity_total == pytest.approx(0.56)
    assert device.score("dev").total.error_rate > server.score("dev").total.error_rate
    assert device.score("no such set") is None


def test_a_decode_without_its_yaml_is_a_row_of_dashes(expdir):
    for path in expdir.glob("decode_device_greedy/*/decode.yaml"):
        path.unlink()
    row = collect([expdir])[-1]
    assert (row.subnet, row.size, row.latency_ms) == ("", None, None)


def test_yaml_of_the_decode_folder_is_read(expdir):
    folder = expdir / "decode_device_greedy"
    (folder / "test" / "decode.yaml").rename(folder / "decode.yaml")
    (folder / "dev" / "decode.yaml").unlink()
    assert collect([expdir])[-1].subnet == "device"


def test_sets_decoded_differently_are_refused(expdir):
    path = expdir / "decode_device_greedy" / "test" / "decode.yaml"
    decode = yaml.safe_load(path.read_text())
    decode["context"]["chunk_size"] = 8
    path.write_text(yaml.safe_dump(decode))
    with pytest.raises(DataError, match="'context' is .*decode every set"):
        collect([expdir])


def test_two_experiments_get_labels_with_their_names(scored_once, expdir):
    other = expdir.rename(expdir.parent / "asr_control")
    labels = [decode.label for decode in collect([scored_once, other])]
    assert labels == ["asr_x/server_greedy", "asr_x/device_greedy",
                      "asr_control/server_greedy", "asr_control/device_greedy"]  # fmt: skip


def test_nothing_scored_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such experiment"):
        collect([tmp_path / "x"])
    (tmp_path / "decode_a" / "test").mkdir(parents=True)
    with pytest.raises(DataError, match=r"run espnet2_supernet\.bin\.score first"):
        collect([tmp_path])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("summary.json", lambda text: text[:-20], "not JSON"),
        ("summary.json", lambda text: json.dumps({"token_type": "wer"}), "not a summary"),
        ("summary.json", lambda text: text.replace('"correct": 8', '"correct": 7', 1), "disagree"),
        ("result.txt", lambda text: "", "no Sum row"),
        ("result.txt", None, "cannot be read"),
    ],
)
def test_damaged_scores_are_refused(expdir, name, damage, message):
    path = expdir / "decode_server_greedy" / "dev" / "score_wer" / name
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=message):
        collect([expdir])


@pytest.mark.parametrize("content", ["not: [yaml", "- a list"])
def test_damaged_decode_yaml_is_refused(expdir, content):
    (expdir / "decode_server_greedy" / "dev" / "decode.yaml").write_text(content)
    with pytest.raises(DataError, match=r"decode\.yaml"):
        collect([expdir])
