"""Frame labels of a teacher and their runs: which frames tell something new.

A frame is salient if its label differs from that of the frame before it: the first frame of each
run of equal labels, or the first n. Runs of blanks are runs, too: their first frame stands for the
pause, and keeps the blank that CTC needs between two equal tokens. The rule is what a reviewer of
S6-DAMON tells of SALAD (OpenReview 5qxdlSyyB3); all the rest is our choice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.errors import ConfigError, DataError

ARK, SCP, INFO = "labels.ark", "labels.scp", "labels.json"
FIRST_N = (1, 2, 3)  # rules of which the statistics tell the keep ratio


def salient(labels: np.ndarray, first_n: int = 1) -> np.ndarray:
    """Mark the first frames of every run of equal labels.

    Args:
        labels: One label for each frame ``(T,)``.
        first_n: Frames of each run that are marked.

    Returns:
        Boolean ``(T,)``, True = salient.

    Raises:
        ConfigError: If ``first_n`` is no whole number from 1.

    Example:
        >>> salient(np.array([0, 0, 7, 7, 7, 0])).astype(int)
        array([1, 0, 1, 0, 0, 1])
        >>> salient(np.array([0, 0, 7, 7, 7, 0]), first_n=2).astype(int)
        array([1, 1, 1, 1, 0, 1])
    """
    if isinstance(first_n, bool) or not isinstance(first_n, (int, np.integer)) or first_n < 1:
        raise ConfigError(f"first_n: a whole number from 1, got {first_n!r}")
    steps = np.arange(len(labels))
    starts = np.ones(len(labels), dtype=bool)
    starts[1:] = labels[1:] != labels[:-1]
    begin = np.maximum.accumulate(np.where(starts, steps, 0))
    return steps - begin < first_n


@dataclass(frozen=True)
class LabelInfo:
    """What made a set of labels.

    Attributes:
        teacher: Checkpoint of the teacher.
        subnet: Its subnet.
        context: Context of the subnet, in words.
        tokens: The teacher's tokens, by id.
        blank_id: Id of the blank.
        frame_ms: Duration of a frame in ms.
    """

    teacher: str
    subnet: str
    context: str
    tokens: tuple[str, ...]
    blank_id: int
    frame_ms: float


class LabelStatistics:
    """Counts of labels, utterance after utterance.

    Args:
        blank_id: Id of the blank.
    """

    def __init__(self, blank_id: int) -> None:
        self.blank_id = blank_id
        self.utterances = self.frames = self.runs = self.single_runs = 0
        self.blank_frames = self.blank_runs = self.blank_utterances = 0
        self.kept = dict.fromkeys(FIRST_N, 0)

    def add(self, labels: np.ndarray) -> None:
        """Count the labels ``(T,)`` of an utterance."""
        starts, blank = salient(labels), labels == self.blank_id
        self.utterances += 1
        self.frames += len(labels)
        self.runs += int(starts.sum())
        self.single_runs += int((starts & np.append(starts[1:], True)).sum())
        self.blank_frames += int(blank.sum())
        self.blank_runs += int((starts & blank).sum())
        self.blank_utterances += int(blank.all())
        for n in FIRST_N:
            self.kept[n] += int(salient(labels, n).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return counts and ratios by name; ``keep_ratio`` is by n of the first n frames."""
        frames, runs = max(1, self.frames), max(1, self.runs)
        return {
            "utterances": self.utterances,
            "frames": self.frames,
            "runs": self.runs,
            "runs_of_one_frame": self.single_runs,
            "frames_per_run": round(self.frames / runs, 4),
            "blank_frames": self.blank_frames,
            "blank_frame_ratio": round(self.blank_frames / frames, 4),
            "blank_runs": self.blank_runs,
            "all_blank_utterances": self.blank_utterances,
            "keep_ratio": {str(n): round(count / frames, 4) for n, count in self.kept.items()},
        }


def write_labels(
    folder: Path, utterances: Iterable[tuple[str, np.ndarray]], info: LabelInfo
) -> dict[str, Any]:
    """Write labels as ``labels.ark``, ``labels.scp`` and ``labels.json``.

    Args:
        folder: Where to; older labels are replaced when all new ones are written.
        utterances: (id, labels ``(T,)``) of every utterance.
        info: What made them.

    Returns:
        The statistics.

    Raises:
        DataError: If there is no frame, or no label but the blank.
    """
    statistics = LabelStatistics(info.blank_id)
    with _ark_and_scp(Path(folder)) as write:
        for key, labels in utterances:
            labels = np.asarray(labels, dtype=np.int32)
            statistics.add(labels)
            write(key, labels)
        _check_told(statistics, info)
        told = statistics.to_dict()
    content = json.dumps({**asdict(info), "statistics": told}, indent=2, ensure_ascii=False)
    with atomic_path(Path(folder) / INFO) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
    return told


@contextmanager
def _ark_and_scp(folder: Path) -> Iterator[Any]:
    """Yield ``write(key, labels)``; both files appear when the block ends well."""
    final = Path(os.path.abspath(folder / ARK))
    with atomic_path(folder / SCP) as scp, atomic_path(final) as ark:
        lines = []
        with open(ark, "wb") as stream:

            def write(key: str, labels: np.ndarray) -> None:
                stream.write(f"{key} ".encode())
                lines.append(f"{key} {final}:{stream.tell()}\n")
                kaldiio.matio.write_array(stream, labels)

            yield write
        scp.write_text("".join(lines), encoding="utf-8")


def _check_told(statistics: LabelStatistics, info: LabelInfo) -> None:
    """Refuse labels that tell nothing."""
    if statistics.frames == 0:
        raise DataError("there is no frame to label: the set is empty or its sounds are too short")
    if statistics.blank_frames == statistics.frames:
        raise DataError(
            f"{info.teacher}: subnet '{info.subnet}' says blank in all {statistics.frames} frames "
            f"of {statistics.utterances} utterances: its CTC head is not trained; train it "
            "further, or take another subnet"
        )


def read_info(scp: str | Path) -> tuple[LabelInfo, Mapping[str, Any]]:
    """Read what made a set of labels, and its statistics.

    Args:
        scp: ``labels.scp``; ``labels.json`` lies beside it.

    Raises:
        DataError: If it is missing or no such file.
    """
    path = Path(scp).parent / INFO
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        told = content.pop("statistics")
        info = LabelInfo(**{**content, "tokens": tuple(content["tokens"])})
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; write labels with salad_labels") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the description of labels; write them anew") from error
    return info, told


def check_files(scp: str | Path) -> None:
    """Refuse labels that were moved or deleted; ``labels.scp`` has the whole path of each.

    Raises:
        DataError: Naming the file.
    """
    try:
        lines = Path(scp).read_text(encoding="utf-8").splitlines()
        arks = {line.split(maxsplit=1)[1].rsplit(":", 1)[0] for line in lines}
    except (OSError, ValueError, IndexError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a list of labels"
        raise DataError(f"{scp}: {reason}; write the labels anew with salad_labels") from error
    gone = sorted(ark for ark in arks if not os.path.isfile(ark))
    if gone:
        raise DataError(
            f"{gone[0]}: no such file, but {scp} says that the labels are there; put it back, or "
            "write the labels anew with salad_labels"
        )


def check_tokens(info: LabelInfo, tokens: Iterable[str], where: str) -> None:
    """Refuse a teacher whose labels mean other tokens.

    Args:
        info: What made the labels.
        tokens: Tokens of the model that will use them.
        where: The model, for the message.

    Raises:
        ConfigError: Naming the first token that differs.
    """
    own = tuple(tokens)
    if own == info.tokens:
        return
    pairs = list(zip(info.tokens, own, strict=False))
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    theirs, ours = (t[place] if place < len(t) else "none" for t in (info.tokens, own))
    raise ConfigError(
        f"{info.teacher}: the labels are of another token list than {where} "
        f"({len(info.tokens)} and {len(own)} tokens; number {place} is '{theirs}' and '{ours}'): "
        "label with a teacher of the same tokens"
    )
