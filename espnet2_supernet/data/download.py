"""Fetching corpora: interrupted transfers are resumed, sizes and checksums are checked.

Addresses are those of ESPnet's recipes. Sizes and MD5 sums of LibriSpeech are those that OpenSLR
publishes (resource 12, ``md5sum.txt``). For AN4 no checksum is published: its content is checked
instead (every SPHERE file against its header, numbers of utterances and words).
"""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from espnet2_supernet.data.an4 import prepare_an4
from espnet2_supernet.data.audio import check_complete
from espnet2_supernet.data.files import extract_tar, write_lines
from espnet2_supernet.data.librispeech import read_subset
from espnet2_supernet.errors import DataError

LIBRISPEECH_URL = "https://www.openslr.org/resources/12"
AN4_URLS = (
    "http://www.speech.cs.cmu.edu/databases/an4",
    "https://huggingface.co/datasets/espnet/an4/resolve/main",
)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A published file.

    Attributes:
        name: File name, appended to the base address.
        size: In bytes, None if unknown.
        md5: Checksum, None if none is published.
    """

    name: str
    size: int | None = None
    md5: str | None = None


LIBRISPEECH_ARCHIVES = {
    name: Archive(f"{name}.tar.gz", size, md5)
    for name, size, md5 in (
        ("dev-clean", 337926286, "42e2234ba48799c1f50f24a7926300a1"),
        ("dev-other", 314305928, "c8d0bcc9cca99d4f8b62fcc847357931"),
        ("test-clean", 346663984, "32fa31d27d2e1cad72775fee3f4849a9"),
        ("test-other", 328757843, "fb5a50374b501bb3bac4815ee91d3135"),
        ("train-clean-100", 6387309499, "2a93770f6d5c6c964bc36631d331a522"),
        ("train-clean-360", 23049477885, "c0e676e450a7ff2f54aeade5171606fa"),
        ("train-other-500", 30593501606, "d1a0fd59409feb2c614ce4d30c387708"),
    )
}
AN4_ARCHIVE = Archive("an4_sphere.tar.gz")


class _Interrupted(Exception):
    """A transfer that stopped early; what came is kept."""


def fetch(
    archive: Archive, urls: Sequence[str], out: str | Path, tries: int = 5, pause: float = 2.0
) -> Path:
    """Download a file; ``<name>.part`` holds what came so far, also of earlier calls.

    Args:
        archive: What is wanted.
        urls: Base addresses, tried in turn.
        out: Folder for the file.
        tries: Attempts per address; each goes on where the last one stopped.
        pause: Seconds before another attempt.

    Returns:
        Path of the complete, checked file; nothing is done if it is already there.

    Raises:
        DataError: If no address gives the file, or its size or checksum is wrong.
    """
    path = Path(out) / archive.name
    if path.exists():
        verify(path, archive)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    problem = "no address given"
    for url in urls:
        for attempt in range(tries):
            if attempt:
                time.sleep(pause)
            try:
                _transfer(f"{url.rstrip('/')}/{archive.name}", part)
                verify(part, archive)
                part.replace(path)
                return path
            except urllib.error.HTTPError as error:
                problem = f"{url}: HTTP {error.code}"
                break  # another attempt gives the same answer
            except (OSError, http.client.HTTPException, _Interrupted) as error:
                problem = f"{url}: {error}"
        print(f"warning: {archive.name}: {problem}", file=sys.stderr)
    raise DataError(
        f"{archive.name} cannot be downloaded ({problem}); run the command again to go on, or "
        f"fetch it by other means and put it at {path}"
    )


def _transfer(url: str, part: Path) -> None:
    """Append to ``part`` what is missing of a remote file.

    Raises:
        _Interrupted: If the connection ended early.
        OSError: If the address cannot be reached.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            if _total(error.headers.get("Content-Range")) == have:
                return  # it was complete already
            part.unlink()
            raise _Interrupted("the part does not fit the remote file; starting anew") from None
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        with (
            open(part, "ab" if resumed else "wb") as stream,
            tqdm(
                total=total,
                initial=have,
                desc=part.stem,
                unit="B",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            while block := response.read(_BLOCK):
                stream.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise _Interrupted(f"connection lost after {part.stat().st_size} of {total} bytes")


def _total(content_range: str | None) -> int | None:
    """Read the total size from a header such as ``bytes */1234``."""
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def verify(path: Path, archive: Archive) -> None:
    """Compare a file with its published size and checksum; a wrong one is deleted.

    Raises:
        DataError: If it differs.
    """
    size = path.stat().st_size
    problem = ""
    if archive.size is not None and size != archive.size:
        problem = f"{size} bytes, {archive.size} expected"
    elif archive.md5 is not None:
        digest = hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        if digest.hexdigest() != archive.md5:
            problem = f"MD5 {digest.hexdigest()}, {archive.md5} expected"
    if problem:
        if path.suffix == ".part":  # ours; a file that the user put there stays
            path.unlink()
        raise DataError(f"{path}: {problem}; the file is damaged, fetch it again")


def download_librispeech(
    subset: str, out: str | Path, remove_archive: bool = False, url: str | None = None
) -> Path:
    """Fetch, unpack and check one subset.

    Args:
        subset: A published name.
        out: Gets ``<subset>.tar.gz`` and ``LibriSpeech/<subset>``.
        remove_archive: Delete the archive at the end.
        url: Base address of a mirror.

    Returns:
        The folder of the subset.

    Raises:
        DataError: If the name is unknown, or the transfer or a check fails.
    """
    if subset not in LIBRISPEECH_ARCHIVES:
        raise DataError(
            f"no LibriSpeech subset '{subset}'; subsets: {', '.join(LIBRISPEECH_ARCHIVES)}"
        )
    folder = Path(out) / "LibriSpeech" / subset
    if (folder / ".complete").exists():
        return folder
    path = fetch(LIBRISPEECH_ARCHIVES[subset], [url or LIBRISPEECH_URL], out)
    extract_tar(path, out)
    read_subset(folder)
    _finish(folder, path, remove_archive)
    return folder


def download_an4(out: str | Path, remove_archive: bool = False, url: str | None = None) -> Path:
    """Fetch, unpack and check AN4.

    Args:
        out: Gets ``an4_sphere.tar.gz`` and ``an4``.
        remove_archive: Delete the archive at the end.
        url: Base address of a mirror.

    Returns:
        The folder ``an4``.

    Raises:
        DataError: If the transfer or a check fails.
    """
    folder = Path(out) / "an4"
    if (folder / ".complete").exists():
        return folder
    path = fetch(AN4_ARCHIVE, [url] if url else AN4_URLS, out)
    extract_tar(path, out)
    for data in prepare_an4(folder.resolve(), test=True).values():
        for audio in data.wav.values():
            check_complete(Path(audio))
    _finish(folder, path, remove_archive)
    return folder


def _finish(folder: Path, archive: Path, remove_archive: bool) -> None:
    """Mark a corpus as complete."""
    write_lines(folder / ".complete", [archive.name])
    if remove_archive:
        archive.unlink()
