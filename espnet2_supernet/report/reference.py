"""The row that others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.report.results import Decode


@dataclass(frozen=True)
class Reference:
    """An experiment, or one of its subnets, that other rows are compared with.

    Attributes:
        expdir: The experiment.
        subnet: Its subnet; empty: for each row the one that is most like it.
    """

    expdir: Path
    subnet: str = ""

    def row_for(self, decode: Decode, decodes: Sequence[Decode]) -> Decode | None:
        """Find the row that a row is compared with.

        A full-context row and a streaming one do different work: without ``subnet`` only a row of
        the same algorithmic latency is taken, of the same name or subnet if there is one.

        Args:
            decode: The row.
            decodes: All rows.

        Returns:
            The row; None if the experiment has none like it.
        """
        own = [one for one in decodes if one.expdir == self.expdir]
        if self.subnet:
            own = [one for one in own if one.subnet == self.subnet]
        else:
            own = [one for one in own if one.latency_ms == decode.latency_ms]
        near = sorted(own, key=lambda o: (o.name != decode.name, o.subnet != decode.subnet))
        return near[0] if near else None


def find_reference(text: str, decodes: Sequence[Decode], option: str) -> Reference:
    """Read ``EXPDIR`` or ``EXPDIR:SUBNET``.

    Args:
        text: What was given.
        decodes: All rows.
        option: Named in the error.

    Raises:
        ConfigError: If there is no such experiment or subnet among the rows.
    """
    expdirs = {str(one.expdir): one.expdir for one in decodes}
    folder, _, subnet = (str(Path(text)), "", "") if str(Path(text)) in expdirs else _split(text)
    check_keys([folder], expdirs, option)
    if subnet:
        known = {one.subnet for one in decodes if one.expdir == expdirs[folder]}
        check_keys([subnet], known, f"{option} {folder}")
    return Reference(expdirs[folder], subnet)


def choose_pairs(
    decodes: Sequence[Decode], references: Sequence[Reference]
) -> list[tuple[Decode, Decode]]:
    """Pair every row with its row of each reference, each pair once.

    Args:
        decodes: All rows.
        references: What they are compared with.

    Returns:
        Pairs (row, row of the reference), by reference.
    """
    pairs: list[tuple[Decode, Decode]] = []
    for reference in references:
        for decode in decodes:
            other = reference.row_for(decode, decodes)
            known = other is None or other is decode
            if not known and not any({id(a), id(b)} == {id(decode), id(other)} for a, b in pairs):
                assert other is not None
                pairs.append((decode, other))
    return pairs


def _split(text: str) -> tuple[str, str, str]:
    folder, colon, subnet = text.rpartition(":")
    if colon and not (folder and subnet):
        raise ConfigError(f"'{text}' is no EXPDIR:SUBNET")
    return (str(Path(folder)), colon, subnet) if colon else (str(Path(text)), "", "")
