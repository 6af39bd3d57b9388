import hashlib
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from espnet2_supernet.data import download, librispeech
from espnet2_supernet.data.download import Archive, fetch
from espnet2_supernet.data.sizes import KnownSize
from espnet2_supernet.errors import DataError

CONTENT = np.random.default_rng(0).bytes(200_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; `server.cut` bytes at most per answer; honours Range if asked to."""

    def do_GET(self):
        server = self.server
        content = server.files.get(self.path.lstrip("/"))
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if server.ranges else 0
        server.begins.append(begin)
        if content is None:
            self.send_error(404)
        elif begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
        else:
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.wfile.write(content[begin:][: server.cut])

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.files, httpd.cut, httpd.ranges, httpd.begins = {"a.bin": CONTENT}, None, True, []
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def get(server, tmp_path, archive=None, **options):
    archive = archive or Archive("a.bin", len(CONTENT), MD5)
    return fetch(archive, [server.url], tmp_path, pause=0, **options)


def test_whole_transfer(server, tmp_path):
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    get(server, tmp_path)
    assert len(server.begins) == 1


def test_truncated_transfers_are_resumed(server, tmp_path):
    server.cut = 60_000
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.begins == [0, 60_000, 120_000, 180_000]


def test_resume_in_another_run(server, tmp_path):
    server.cut = 60_000
    with pytest.raises(DataError, match="connection lost after 60000 of 200000 bytes"):
        get(server, tmp_path, tries=1)
    assert not (tmp_path / "a.bin").exists()
    server.cut = None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.begins == [0, 60_000]


def test_server_without_ranges_starts_anew(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    server.ranges = False
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_complete_part_is_taken(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_part_that_is_too_long_is_dropped(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (Archive("a.bin", 7), "200000 bytes, 7 expected"),
        (Archive("a.bin", None, "0" * 32), f"MD5 {MD5}, 0000"),
    ],
)
def test_wrong_size_or_checksum(server, tmp_path, archive, message):
    with pytest.raises(DataError, match=message):
        get(server, tmp_path, archive)
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_of_the_user_is_refused_and_kept(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(DataError, match="1 bytes, 200000 expected"):
        get(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"x"


def test_second_address_is_tried(server, tmp_path):
    urls = [f"{server.url}/nowhere", "http://127.0.0.1:9", server.url]
    assert fetch(Archive("a.bin"), urls, tmp_path, tries=2, pause=0).read_bytes() == CONTENT


def test_nothing_reachable(tmp_path):
    with pytest.raises(DataError, match="cannot be downloaded.*put it at .*a.bin"):
        fetch(Archive("a.bin"), ["http://127.0.0.1:9"], tmp_path, tries=1)


def pack_folder(path, folder):
    with tarfile.open(path, "w") as tar:  # the name says .gz; unpacking looks at the content
        tar.add(folder, folder.name)
    return path.read_bytes()


def test_librispeech(server, tmp_path, monkeypatch):
    chapter = tmp_path / "source" / "LibriSpeech" / "dev-clean" / "1" / "2"
    chapter.mkdir(parents=True)
    soundfile.write(chapter / "1-2-0000.flac", [0.0] * 100, 16000)
    (chapter / "1-2.trans.txt").write_text("1-2-0000 HI\n")
    content = pack_folder(tmp_path / "x.tar.gz", tmp_path / "source" / "LibriSpeech")
    server.files["dev-clean.tar.gz"] = content
    monkeypatch.setitem(librispeech.KNOWN_SIZES, "dev-clean", KnownSize(1, 1))
    archive = Archive("dev-clean.tar.gz", len(content), hashlib.md5(content).hexdigest())
    monkeypatch.setitem(download.LIBRISPEECH_ARCHIVES, "dev-clean", archive)
    out = tmp_path / "downloads"
    for _ in range(2):
        folder = download.download_librispeech("dev-clean", out, True, server.url)
    assert (folder / ".complete").exists() and not (out / "dev-clean.tar.gz").exists()
    assert len(server.begins) == 1
    with pytest.raises(DataError, match="no LibriSpeech subset 'dev-dirty'"):
        download.download_librispeech("dev-dirty", out)


def test_an4_is_checked_by_its_content(server, tmp_path, sphere):
    root = tmp_path / "source" / "an4"
    (root / "etc").mkdir(parents=True)
    for split, folder, number in (("train", "an4_clstk", 948), ("test", "an4test_clstk", 130)):
        lines = []
        for i in range(number):
            words = "A " * (6 if split == "test" and i < 123 else 5)
            if split == "train" and i < 100:
                words = "A " * (6 if i < 91 else 5)
            sphere(root / "wav" / folder / "spk" / f"u{i:04d}-spk-b.sph", np.arange(4))
            lines.append(f"<s> {words}</s> (u{i:04d}-spk-b)\n")
        (root / "etc" / f"an4_{split}.transcription").write_text("".join(lines))
    server.files["an4_sphere.tar.gz"] = pack_folder(tmp_path / "x.tar.gz", root)
    assert (download.download_an4(tmp_path / "good", url=server.url) / ".complete").exists()
    sphere(root / "wav" / "an4_clstk" / "spk" / "u0007-spk-b.sph", np.arange(4))
    path = root / "wav" / "an4_clstk" / "spk" / "u0007-spk-b.sph"
    path.write_bytes(path.read_bytes()[:-4])
    server.files["an4_sphere.tar.gz"] = pack_folder(tmp_path / "x.tar.gz", root)
    with pytest.raises(DataError, match="u0007-spk-b.sph: truncated"):
        download.download_an4(tmp_path / "bad", url=server.url)
    assert not (tmp_path / "bad" / "an4" / ".complete").exists()
