import io
import tarfile

import pytest

from espnet2_supernet.data.files import atomic_path, extract_tar, read_lines, write_lines
from espnet2_supernet.errors import DataError


def test_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "text"
    write_lines(path, ["old"])
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["text"]


def test_written_files_are_readable_by_others(tmp_path):
    write_lines(tmp_path / "text", ["a"])
    (tmp_path / "other").write_text("a")
    assert (tmp_path / "text").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_read_lines_keeps_unicode_separators_inside_a_line(tmp_path):
    write_lines(tmp_path / "text", ["a x\u2028y", "b z"])
    assert read_lines(tmp_path / "text") == ["a x\u2028y", "b z"]


@pytest.mark.parametrize("content", [b"", b" \n\n"])
def test_empty_file_is_an_error(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(DataError, match="text: the file is empty"):
        read_lines(tmp_path / "text")


def test_missing_file_and_wrong_encoding_are_errors(tmp_path):
    with pytest.raises(DataError, match="nothing: no such file"):
        read_lines(tmp_path / "nothing")
    (tmp_path / "text").write_bytes(b"a ok\nb caf\xe9\n")
    with pytest.raises(DataError, match="text:2: not UTF-8"):
        read_lines(tmp_path / "text")


def pack(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.size, member.linkname = kind, 2 * (kind == tarfile.REGTYPE), "/etc"
        tar.addfile(member, io.BytesIO(b"hi"))
    return path


def test_extract_good_archive(tmp_path):
    extract_tar(pack(tmp_path / "a.tar.gz", "x/y"), tmp_path / "out")
    assert (tmp_path / "out" / "x" / "y").read_bytes() == b"hi"


@pytest.mark.parametrize("name", ["../evil", "x/../../evil", "/tmp/supernet_evil"])
def test_extract_refuses_paths_outside(tmp_path, name):
    with pytest.raises(DataError, match="outside the folder"):
        extract_tar(pack(tmp_path / "a.tar.gz", name), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_extract_refuses_links_and_devices(tmp_path, kind):
    with pytest.raises(DataError, match="link or a device"):
        extract_tar(pack(tmp_path / "a.tar.gz", "x", kind), tmp_path / "out")


def test_extract_damaged_archive(tmp_path):
    path = pack(tmp_path / "a.tar.gz", "x")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be unpacked"):
        extract_tar(path, tmp_path / "out")
