"""Files written whole or not at all."""

import os
import stat

import pytest

from espnet2_supernet.atomic import atomic_files, atomic_path, remove_leftovers


@pytest.mark.parametrize("durable", [False, True])
def test_the_new_file_replaces_the_old_one_at_the_end(tmp_path, durable):
    path = tmp_path / "a" / "b.txt"
    for text in ("old", "new"):
        with atomic_path(path, durable) as temporary:
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["b.txt"]


def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["b.txt"]


def test_several_files_go_to_their_folder_together(tmp_path):
    folder = tmp_path / "a" / "out"
    with atomic_files(folder) as temporary:
        (temporary / "one").write_text("old")
        assert not folder.exists()
    (folder / "mine").write_text("kept")
    with pytest.raises(OSError), atomic_files(folder) as temporary:
        (temporary / "one").write_text("half")
        raise OSError
    with atomic_files(folder) as temporary:
        assert not list(temporary.iterdir())
        assert (folder / "one").read_text() == "old"
        (temporary / "one").write_text("new")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "one": "new",
        "mine": "kept",
    }
    assert os.listdir(folder.parent) == ["out"]


def test_rights_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").touch()
    with atomic_path(tmp_path / "atomic"):
        pass
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "atomic")}
    assert len(modes) == 1


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    for name in (".1epoch.x7.pth", "1epoch.pth", ".b.y8.txt"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, ".pth")
    assert sorted(os.listdir(tmp_path)) == [".b.y8.txt", "1epoch.pth"]
