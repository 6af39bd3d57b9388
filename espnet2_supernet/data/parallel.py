"""A parallel map over utterances, with a progress display."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], nj: int, title: str
) -> Iterator[Result]:
    """Apply a function to each item, in order.

    Args:
        function: A module-level function (or a :func:`functools.partial` of one).
        items: Its arguments.
        nj: Number of processes; 1 works in this process.
        title: Shown beside the progress bar (on a terminal; one line otherwise).

    Yields:
        Results in the order of ``items``, each as soon as it and its forerunners are there.
    """
    bar = tqdm(total=len(items), desc=title, unit="utt", mininterval=0.5,
               disable=not items or not sys.stderr.isatty())
    if items and bar.disable:
        print(f"{title}: {len(items)} utterances", file=sys.stderr, flush=True)
    with bar:
        if nj <= 1 or len(items) < 2:
            for item in items:
                yield function(item)
                bar.update()
            return
        # Not "fork": the caller may hold threads of numpy or torch.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(nj, len(items)), mp_context=context) as pool:
            for result in pool.map(function, items, chunksize=8):
                yield result
                bar.update()
