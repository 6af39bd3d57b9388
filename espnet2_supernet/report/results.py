"""Collect what an experiment folder holds: scored decodes, sizes of the subnets, latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.counts import Counts
from espnet2_supernet.report.files import read_json_object, read_text_file
from espnet2_supernet.report.latency import MeasuredLatency, algorithmic_latency_ms
from espnet2_supernet.report.sclite import SumRow, parse_sum_row
from espnet2_supernet.report.scoring import SUMMARY, Score
from espnet2_supernet.report.significance import Interval
from espnet2_supernet.report.speed import SpeedReport, measured_latency, read_speed
from espnet2_supernet.report.subnet_sizes import SubnetSize, read_sizes

_SAME_FOR_ALL_SETS = ("subnet", "context", "mode", "search", "beam_size", "use")


@dataclass(frozen=True)
class ScoredSet:
    """One ``score_*`` folder.

    Attributes:
        score: Content of its ``summary.json``.
        row: The Sum rows of its ``result.txt``.
    """

    score: Score
    row: SumRow


@dataclass(frozen=True)
class Decode:
    """One ``decode_*`` folder: one subnet in one context under one search.

    Attributes:
        expdir: Its experiment.
        name: Name of the folder.
        label: Short unique name for tables and plots.
        subnet: Name of the subnet, empty if ``decode.yaml`` does not tell.
        sets: ``{test set: {"wer" or "cer": scored set}}``.
        size: Size of the subnet, if known.
        latency_ms: Algorithmic latency in ms; infinite for full context, None if unknown.
        measured: Measured latency.
        command: Command that decoded, if recorded.
        token_type: Which scores count, ``wer`` or ``cer``.
    """

    expdir: Path
    name: str
    label: str
    subnet: str
    sets: dict[str, dict[str, ScoredSet]]
    size: SubnetSize | None
    latency_ms: float | None
    measured: MeasuredLatency
    command: str
    token_type: str = "wer"

    @property
    def metric(self) -> str:
        """What tables and plots call the rate: ``WER`` or ``CER``."""
        return self.token_type.upper()

    def score(self, test_set: str) -> Score | None:
        """Return the score of a test set, if it was scored.

        Args:
            test_set: Name of the set.
        """
        scored = self.sets.get(test_set, {}).get(self.token_type)
        return scored.score if scored else None


def collect(
    expdirs: Sequence[Path], joint: SpeedReport | None = None, token_type: str = "wer"
) -> list[Decode]:
    """Collect the scored decodes of experiments.

    Args:
        expdirs: Experiment folders with ``decode_*/<set>/score_*/summary.json``.
        joint: Speed measured of several of them together.
        token_type: Which scores count, ``wer`` or ``cer``.

    Returns:
        One entry per ``decode_*`` folder; within an experiment in the order of its subnets,
        longest latency first, then by name.

    Raises:
        DataError: If a folder is missing, nothing was scored, or a file is damaged.
    """
    decodes = []
    for expdir in expdirs:
        if not expdir.is_dir():
            raise DataError(f"{expdir}: no such experiment folder")
        sizes, speed = read_sizes(expdir / "subnets.json"), read_speed(expdir, joint)
        folders = sorted(path for path in expdir.glob("decode_*") if path.is_dir())
        found = [_read_decode(folder, sizes, speed, len(expdirs) > 1) for folder in folders]
        found = [replace(decode, token_type=token_type) for decode in found]
        decodes += sorted(
            (decode for decode in found if decode.sets), key=lambda item: _order(item, list(sizes))
        )
    if not decodes:
        names = ", ".join(str(path) for path in expdirs)
        raise DataError(
            f"{names}: no decode_*/<set>/score_*/{SUMMARY}; run espnet2_supernet.bin.score first"
        )
    return decodes


def read_score(folder: Path) -> ScoredSet:
    """Read a ``score_*`` folder and check that its two files agree.

    Args:
        folder: Holds ``summary.json`` and ``result.txt``.

    Returns:
        The scored set.

    Raises:
        DataError: If a file is damaged or they disagree.
    """
    path = folder / SUMMARY
    summary = read_json_object(path)
    try:
        interval = Interval(**summary["interval"]) if summary["interval"] else None
        utterances = {
            key: Counts.from_dict(item, f"{path}: {key}")
            for key, item in summary["utterances"].items()
        }
        speakers = {key: str(item["speaker"]) for key, item in summary["utterances"].items()}
        score = Score(
            summary["token_type"], summary["scorer"], utterances, speakers, interval,
            summary["command"], summary["inputs"],
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a summary of ours ({error!r}); score again") from error
    row = parse_sum_row(read_text_file(folder / "result.txt"), str(folder / "result.txt"))
    if row.counts != score.total or row.sentences != len(utterances):
        raise DataError(f"{folder}: result.txt and {SUMMARY} disagree; score again")
    return ScoredSet(score, row)


def _order(decode: Decode, subnets: Sequence[str]) -> tuple[int, float, str]:
    place = subnets.index(decode.subnet) if decode.subnet in subnets else len(subnets)
    return place, -(decode.latency_ms or 0.0), decode.name


def _read_decode(
    folder: Path, sizes: Mapping[str, SubnetSize], speed: SpeedReport | None, many: bool
) -> Decode:
    sets: dict[str, dict[str, ScoredSet]] = {}
    for path in sorted(folder.glob(f"*/score_*/{SUMMARY}")):
        scored = read_score(path.parent)
        sets.setdefault(path.parent.parent.name, {})[scored.score.token_type] = scored
    config, where = _read_config(folder, list(sets))
    subnet = str(config.get("subnet") or "")
    label = folder.name.removeprefix("decode_")
    return Decode(
        expdir=folder.parent,
        name=folder.name,
        label=f"{folder.parent.name}/{label}" if many else label,
        subnet=subnet,
        sets=sets,
        size=sizes.get(subnet),
        latency_ms=algorithmic_latency_ms(config, where),
        measured=measured_latency(speed, config),
        command=str(config.get("command") or ""),
    )


def _read_config(folder: Path, sets: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Return ``decode.yaml`` (of the sets or of the folder); the sets must agree."""
    config: dict[str, Any] = {}
    where = ""
    for path in [*(folder / name / "decode.yaml" for name in sets), folder / "decode.yaml"]:
        if not path.exists():
            continue
        try:
            content = yaml.safe_load(read_text_file(path))
        except yaml.YAMLError as error:
            raise DataError(f"{path}: not YAML: {error}; decode again") from error
        if not isinstance(content, dict):
            raise DataError(f"{path}: a mapping is expected; decode again")
        for key in _SAME_FOR_ALL_SETS:
            if config and content.get(key) != config.get(key):
                raise DataError(
                    f"{path}: '{key}' is {content.get(key)!r} here but {config.get(key)!r} in "
                    f"{where}; decode every set of {folder.name} alike"
                )
        config, where = config or content, where or str(path)
    return config, where
