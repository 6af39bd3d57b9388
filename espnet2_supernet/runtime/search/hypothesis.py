"""Token histories whose memory does not grow with the utterance.

Beams share their histories in a prefix tree whose nodes point to their parents only (children
are weak references), so a pruned branch is freed at once. What all agree on is *committed*: moved
to a flat :class:`Transcript` and cut from the tree (our choice). Besides the prefix a beam keeps
the alignment of its best single path, which gives each token its emission frame.
"""

from __future__ import annotations

import math
import weakref
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NEG_INF = float("-inf")


def log_add(a: float, b: float) -> float:
    """Return ``log(exp(a) + exp(b))`` without overflow; ``-inf`` is the empty sum."""
    if a < b:
        a, b = b, a
    if b == NEG_INF:
        return a
    return a + math.log1p(math.exp(b - a))


@dataclass(frozen=True)
class SearchHypothesis:
    """One complete token sequence found by a search.

    Attributes:
        tokens: Token ids without blanks, ``(U,)``.
        frames: Encoder frame at which each token was emitted, ``(U,)``, never decreasing.
        score: Natural log score, language model and length bonus included.
    """

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    score: float


@dataclass
class Transcript:
    """Tokens that can no longer change; the only part of a search state that grows.

    Attributes:
        tokens: Token ids, 4 bytes each.
        frames: Emission frames, 8 bytes each.
    """

    tokens: array = field(default_factory=lambda: array("i"))
    frames: array = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        """Return the number of committed tokens."""
        return len(self.tokens)

    def extend(self, tokens: Iterable[int], frames: Iterable[int]) -> None:
        """Append tokens; a frame before the last one is raised to it."""
        for token, frame in zip(tokens, frames, strict=True):
            latest = self.frames[-1] if self.frames else 0
            self.tokens.append(token)
            self.frames.append(max(frame, latest))

    def with_pending(
        self, tokens: Sequence[int], frames: Sequence[int], score: float
    ) -> SearchHypothesis:
        """Join the committed tokens and the pending ones of one beam into a hypothesis."""
        latest = self.frames[-1] if self.frames else 0
        later = tuple(max(frame, latest) for frame in frames)
        return SearchHypothesis(
            tuple(self.tokens) + tuple(tokens), tuple(self.frames) + later, score
        )


class PrefixNode:
    """A token sequence as a node of the prefix tree.

    Equal sequences are the same object as long as one beam or descendant holds it, so beams are
    merged by identity.

    Attributes:
        token: Last token of the sequence (-1 at the root).
        parent: Node of the sequence without it; ``None`` at the root.
        depth: Length of the sequence, committed tokens included.
        bonus: Weighted language-model score plus length bonus of the sequence.
    """

    __slots__ = ("token", "parent", "depth", "bonus", "_children", "__weakref__")

    def __init__(self, token: int = -1, parent: PrefixNode | None = None, bonus: float = 0.0):
        """Make a node; use :meth:`child` for all but the root."""
        self.token = token
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.bonus = bonus
        self._children: dict[int, weakref.ref[PrefixNode]] | None = None

    def find_child(self, token: int) -> PrefixNode | None:
        """Return the living node of this sequence plus ``token``, if any."""
        if self._children is None:
            return None
        reference = self._children.get(token)
        return None if reference is None else reference()

    def child(self, token: int, bonus: float = 0.0) -> PrefixNode:
        """Return the node of this sequence plus ``token``, made where needed with ``bonus``."""
        node = self.find_child(token)
        if node is None:
            node = PrefixNode(token, self, bonus)
            if self._children is None:
                self._children = {}
            self._children[token] = weakref.ref(node)
        return node


class Alignment:
    """Emission frames of one path as a linked list, newest first.

    Attributes:
        frame: Emission frame of the last token (-1 at the root).
        parent: Alignment of the tokens before it.
        depth: Number of tokens, committed ones included.
    """

    __slots__ = ("frame", "parent", "depth")

    def __init__(self, frame: int = -1, parent: Alignment | None = None):
        """Append ``frame`` to ``parent``."""
        self.frame = frame
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1


def pending(root: PrefixNode, node: PrefixNode, path: Alignment) -> tuple[list[int], list[int]]:
    """List what lies between ``root`` (excluded) and ``node`` (included).

    Args:
        root: Last committed node, an ancestor of ``node``.
        node: Node of a beam.
        path: Alignment of that beam, of the same depth.

    Returns:
        Token ids and emission frames, oldest first, ``(node.depth - root.depth,)`` each.
    """
    tokens, frames = [], []
    step: PrefixNode | None = node
    link: Alignment | None = path
    while step is not root:
        assert step is not None and link is not None, "the node does not descend from the root"
        tokens.append(step.token)
        frames.append(link.frame)
        step, link = step.parent, link.parent
    return tokens[::-1], frames[::-1]


def common_ancestor(nodes: Iterable[PrefixNode]) -> PrefixNode:
    """Return the deepest node from which all ``nodes`` (at least one) descend."""
    front = {id(node): node for node in nodes}
    while len(front) > 1:
        deepest = max(front.values(), key=lambda node: node.depth)
        del front[id(deepest)]
        assert deepest.parent is not None, "the nodes belong to different trees"
        front[id(deepest.parent)] = deepest.parent
    return next(iter(front.values()))


def ancestor_at(node: PrefixNode, depth: int) -> PrefixNode:
    """Return the ancestor of ``node`` (or itself) of the given depth."""
    while node.depth > depth:
        assert node.parent is not None
        node = node.parent
    return node


def cut_alignments(paths: Iterable[Alignment], depth: int) -> None:
    """Forget the frames of all tokens before ``depth`` (they are committed)."""
    for path in paths:
        link = path
        while link.depth > depth and link.parent is not None:
            link = link.parent
        link.parent = None
