"""How kernels are compiled and where numba keeps them.

numba caches beside this package where it may write there, in the user's cache folder where not,
or where ``NUMBA_CACHE_DIR`` says. It takes the file of the decorated function for the whole source
and reads what it finds there before it looks whether that is out of date, and fails if a class is
gone since. Here files are named after the sources of all kernels together, and their dates do
not count.

A device need not compile: the package folder copied with its ``__pycache__`` from a computer with
the same model of CPU, Python and numba brings the compiled kernels along. numba compiles anew
where one of them differs. (Our choice, in place of numba's ahead-of-time compiler, which is
deprecated.)
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile

_FOLDER = Path(__file__).parents[1]
_FOLDERS = ("kernels", "chunk", "training")  # all that is compiled


def kernel(function: Callable) -> Any:
    """Compile lazily with an on-disk cache, or without one where no folder is writable."""
    try:
        compiled: Any = numba.njit(nogil=True, cache=True)(function)
        cache, sources = compiled._cache, _digest()
        cache._cache_file = IndexDataCacheFile(
            cache_path=cache._cache_path,
            filename_base=f"{cache._impl.filename_base}-{sources[:16]}",
            source_stamp=sources,
        )
        return compiled
    except (RuntimeError, OSError, AttributeError):  # RuntimeError: "no locator available"
        return numba.njit(nogil=True)(function)


@functools.lru_cache(maxsize=1)
def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for name in _FOLDERS for path in (_FOLDER / name).glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
