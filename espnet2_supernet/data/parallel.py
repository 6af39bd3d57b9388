"""A parallel map over utterances, with a progress display."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from espnet2_supernet.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    nj: int,
    title: str,
    unit: str = "utt",
) -> Iterator[Result]:
    """Apply a function to each item, in order, with a progress bar (one line off a terminal).

    Args:
        function: A module-level function (or a :func:`functools.partial` of one).
        items: Its arguments.
        nj: Number of processes; 1 works in this process.
        title: Shown beside the progress bar.
        unit: What an item is, in a word.

    Yields:
        Results in the order of ``items``, each as soon as it and its forerunners are there.

    Raises:
        DataError: If a worker process was killed.
    """
    terminal = sys.stderr.isatty()
    if items and not terminal:
        print(f"{title}: {len(items)} {unit}", file=sys.stderr, flush=True)
    with tqdm(total=len(items), desc=title, unit=unit, disable=not (items and terminal)) as bar:
        for result in _results(function, items, nj):
            yield result
            bar.update()


def _results(
    function: Callable[[Item], Result], items: Sequence[Item], nj: int
) -> Iterator[Result]:
    """Yield the results in order."""
    if nj <= 1 or len(items) < 2:
        yield from map(function, items)
        return
    # Not "fork": the caller may hold threads of numpy or torch.
    context = multiprocessing.get_context("spawn")
    share = max(1, min(8, len(items) // (4 * nj)))
    try:
        with ProcessPoolExecutor(min(nj, len(items)), mp_context=context) as pool:
            yield from pool.map(function, items, chunksize=share)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed (out of memory?); run again with a smaller --nj, what is "
            "done is kept"
        ) from error
