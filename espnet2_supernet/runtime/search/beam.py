"""What the beam searches share: the state and the commit of what is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from espnet2_supernet.runtime.search.hypothesis import (
    Alignment,
    PrefixNode,
    Transcript,
    ancestor_at,
    common_ancestor,
    cut_alignments,
    pending,
)


class Beam(Protocol):
    """What a beam must offer to be committed."""

    node: PrefixNode

    @property
    def alignment(self) -> Alignment:
        """Alignment of the best path."""
        ...

    def alignments(self) -> list[Alignment]:
        """All alignments held."""
        ...


BeamT = TypeVar("BeamT", bound=Beam)


@dataclass
class BeamState(Generic[BeamT]):
    """State of a beam search.

    Attributes:
        root: Node of the last committed token; all beams descend from it.
        beams: Living beams, best first.
        frame: Number of encoder frames seen.
        transcript: Committed tokens.
    """

    root: PrefixNode
    beams: list[BeamT]
    frame: int = 0
    transcript: Transcript = field(default_factory=Transcript)


def commit_if_due(state: BeamState, every: int, max_pending: int) -> None:
    """Move what all beams agree on to the transcript, at fixed frames.

    When the best beam has more than ``max_pending`` undecided tokens, the oldest half is decided
    in its favour: beams that contradict it are dropped. Both depend on frame numbers only, never
    on how the stream was cut.

    Args:
        state: State, changed in place.
        every: Frames between two commits.
        max_pending: Longest undecided history in tokens.
    """
    best = state.beams[0]
    overlong = best.node.depth - state.root.depth > max_pending
    if not overlong and state.frame % every:
        return
    ancestor = common_ancestor(beam.node for beam in state.beams)
    if best.node.depth - ancestor.depth > max_pending:
        ancestor = ancestor_at(best.node, best.node.depth - max_pending // 2)
        state.beams = [b for b in state.beams if _descends(b.node, ancestor)]
    if ancestor is state.root:
        return
    tokens, frames = pending(state.root, best.node, best.alignment)
    count = ancestor.depth - state.root.depth
    state.transcript.extend(tokens[:count], frames[:count])
    ancestor.parent = None
    state.root = ancestor
    for beam in state.beams:
        cut_alignments(beam.alignments(), ancestor.depth)


def _descends(node: PrefixNode, ancestor: PrefixNode) -> bool:
    """Whether ``ancestor`` lies on the way from ``node`` to the root."""
    return node.depth >= ancestor.depth and ancestor_at(node, ancestor.depth) is ancestor
