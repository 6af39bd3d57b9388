"""What may break with another ESPnet release, and how to start ESPnet quietly.

This is the only file that names modules of ``espnet.nets`` and ``espnet.utils``: after release
202511 they move to ``espnet2.legacy``. Names are resolved on first use, so that importing this
module costs nothing:

    from espnet2_supernet.compat import make_pad_mask
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import logging
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet2_supernet.atomic import atomic_path

_NAMES = {
    "BatchBeamSearch": "nets.batch_beam_search",
    "BatchScorerInterface": "nets.scorer_interface",
    "BeamSearch": "nets.beam_search",
    "CTCPrefixScorer": "nets.scorers.ctc",
    "Hypothesis": "nets.beam_search",
    "LengthBonus": "nets.scorers.length_bonus",
    "ScorerInterface": "nets.scorer_interface",
    "TooShortUttError": "nets.pytorch_backend.transformer.subsampling",
    "get_commandline_args": "utils.cli_utils",
    "make_pad_mask": "nets.pytorch_backend.nets_utils",
}
_ROOTS = ("espnet", "espnet2.legacy")  # release 202511, later releases
_NLTK_FILES = ("taggers/averaged_perceptron_tagger_eng.zip", "corpora/cmudict.zip")
_NLTK_SYSTEM_DIRS = (
    "~/nltk_data",
    "/usr/share/nltk_data",
    "/usr/local/share/nltk_data",
    "/usr/lib/nltk_data",
    "/usr/local/lib/nltk_data",
)
_is_quiet = False


def __getattr__(name: str) -> Any:
    """Resolve a version-fragile ESPnet name.

    Raises:
        AttributeError: If the name is not in our table.
        ImportError: If no known place of this ESPnet release has it.
    """
    if name not in _NAMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    quiet()
    for root in _ROOTS:
        try:
            module = importlib.import_module(f"{root}.{_NAMES[name]}")
        except ModuleNotFoundError:
            continue
        value = getattr(module, name)
        globals()[name] = value
        return value
    raise ImportError(f"this ESPnet release has no {_NAMES[name]}.{name}; install espnet==202511")


def quiet() -> None:
    """Silence what ESPnet and its dependencies print at start-up (idempotent).

    Call it before the first import of ``espnet2``. It keeps g2p_en from downloading NLTK data at
    import, hides the message about a missing Flash Attention, and filters warnings about code
    that is not ours.
    """
    global _is_quiet
    if _is_quiet:
        return
    _is_quiet = True
    _filter_warnings()
    _prevent_nltk_download()
    with _without_print(), contextlib.suppress(ImportError):
        importlib.import_module("espnet.nets.pytorch_backend.transformer.attention")


@contextlib.contextmanager
def _without_print() -> Iterator[None]:
    """Make ``print`` do nothing.

    Redirecting standard output instead would reach further: ESPnet binds ``sys.stdout`` as a
    default argument while it is imported.
    """
    original = builtins.print
    builtins.print = lambda *args, **kwargs: None
    try:
        yield
    finally:
        builtins.print = original


def _filter_warnings() -> None:
    """Ignore warnings that a user can do nothing about."""
    warnings.filterwarnings("ignore", r".*torch\.cuda\.amp.*", FutureWarning)
    warnings.filterwarnings("ignore", r".*custom_(fwd|bwd).*", FutureWarning)
    warnings.filterwarnings("ignore", r".*weights_only.*", FutureWarning)
    warnings.filterwarnings("ignore", r"No (valid )?stats found", UserWarning)
    warnings.filterwarnings("ignore", r"The stats of the previous epoch", UserWarning)
    warnings.filterwarnings("ignore", r"Mean of empty slice", RuntimeWarning)
    warnings.filterwarnings("ignore", r".*pkg_resources.*")
    warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step\(\)`", UserWarning)
    for module in ("numba", "librosa", "g2p_en", "nltk", "pyworld", "jamo", "typeguard"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?")
    for name in ("numba", "matplotlib", "PIL", "fsspec", "h5py"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _prevent_nltk_download() -> None:
    """Offer two tiny valid archives where NLTK looks last, unless the real data are there.

    g2p_en downloads both at import when it cannot find them, and hangs where the network is
    black-holed. Grapheme-to-phoneme conversion itself (``--token_type phn``) needs the real data.
    """
    given = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    known = given + [Path(p).expanduser() for p in _NLTK_SYSTEM_DIRS]
    if all(any((folder / name).exists() for folder in known) for name in _NLTK_FILES):
        return
    for cache in _cache_dirs():
        try:
            for name in _NLTK_FILES:
                _write_empty_zip(cache / name)
        except OSError:
            continue
        os.environ["NLTK_DATA"] = os.pathsep.join(str(p) for p in [*given, cache])
        return


def _cache_dirs() -> list[Path]:
    """Return candidate folders for the placeholder archives, best first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [
        Path(home) / "espnet2_supernet" / "nltk_data",
        Path(tempfile.gettempdir()) / f"espnet2_supernet_nltk_{os.getuid()}",
    ]


def _write_empty_zip(path: Path) -> None:
    """Write a valid archive with one empty member, atomically; keep an existing valid one."""
    if path.exists() and zipfile.is_zipfile(path):
        return
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(f"{path.stem}/README", "placeholder of espnet2_supernet\n")
