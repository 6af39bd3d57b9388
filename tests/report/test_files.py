"""Atomic writing and reading with clear errors."""

import os

import pytest

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.files import read_json_object, read_text_file, write_atomic


def test_write_makes_the_folder_and_leaves_no_temporary(tmp_path):
    write_atomic(tmp_path / "a" / "b.txt", "h\u00e9\n")
    assert read_text_file(tmp_path / "a" / "b.txt") == "h\u00e9\n"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "b.txt"
    write_atomic(path, "old")

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(DataError, match=r"b\.txt: cannot be written: No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_json_that_is_no_object_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=r"x\.json"):
        read_json_object(tmp_path / "x.json")
