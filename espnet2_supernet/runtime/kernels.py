"""How the kernels of the chunk step are compiled and where numba keeps them.

numba caches beside this package where it may write there, in the user's cache folder where not,
or where ``NUMBA_CACHE_DIR`` says. It takes the source of the decorated function's own file for
the whole source; here the sources of all kernels count.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_FOLDER = Path(__file__).parent
_SOURCES = (
    "arena.py",
    "chunk_attention.py",
    "chunk_blocks.py",
    "chunk_products.py",
    "frame_layers.py",
    "frame_results.py",
    "frame_tiles.py",
    "kernels.py",
    "layout_tiles.py",
    "vector_math.py",
    "vectors.py",
)


def kernel(function: Callable) -> Any:
    """Compile lazily with an on-disk cache, or without one where no folder is writable."""
    try:
        compiled: Any = numba.njit(nogil=True, cache=True)(function)
        file = compiled._cache._cache_file
        file._source_stamp = (file._source_stamp, _stamp())
        return compiled
    except (RuntimeError, OSError, AttributeError):  # RuntimeError: "no locator available"
        return numba.njit(nogil=True)(function)


@functools.lru_cache(maxsize=1)
def _stamp() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update((_FOLDER / name).read_bytes())
    return digest.hexdigest()
