"""Labels whose ark or list was moved or deleted ended in a traceback of the reader."""

import numpy as np
import pytest

from espnet2_supernet.damon.labels import LabelInfo, check_files, write_labels
from espnet2_supernet.errors import DataError

TOKENS = ("<blank>", "A")


@pytest.fixture
def labels(tmp_path):
    info = LabelInfo("asr.pth", "server", "full context", TOKENS, 0, 40.0)
    write_labels(tmp_path, [("a", np.array([0, 1])), ("b", np.array([1, 1, 0]))], info)
    check_files(tmp_path / "labels.scp")
    return tmp_path


@pytest.mark.parametrize("name", ["labels.ark", "labels.scp"])
def test_the_file_is_named(labels, name):
    (labels / name).rename(labels / "elsewhere")
    with pytest.raises(DataError, match=f"{labels / name}: no such file.* with salad_labels"):
        check_files(labels / "labels.scp")


@pytest.mark.parametrize("line", ["a", "", "a elsewhere"])
def test_what_is_no_list_is_named(labels, line):
    (labels / "labels.scp").write_text(f"{line}\n")
    with pytest.raises(DataError, match="labels.scp.* with salad_labels"):
        check_files(labels / "labels.scp")
