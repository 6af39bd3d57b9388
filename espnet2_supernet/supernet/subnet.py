"""A row of the table: a name, the contexts it was trained for, and a mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.depth import Depth
from espnet2_supernet.supernet.tokens import TokenSpec


@dataclass(frozen=True)
class Subnet:
    """One of the models inside the supernet.

    Attributes:
        name: Name, an identifier.
        contexts: Contexts it is trained for; the first is its default.
        mask: Declaration of its mask, ``None`` for the dense weights.
        mask_name: Name of its mask: its own name, or that of the subnet whose mask it shares.
        depth: Which layers it runs; ``None`` for all.
        tokens: Which frames it computes, ``None`` for all.
        own_head: Whether it has an output layer, and the norm before it, of its own; else it
            shares those of the first subnet.
    """

    name: str
    contexts: tuple[Context, ...]
    mask: MaskSpec | None = None
    mask_name: str | None = None
    depth: Depth | None = None
    tokens: TokenSpec | None = None
    own_head: bool = False

    @property
    def context(self) -> Context:
        """The default context."""
        return self.contexts[0]

    @property
    def uses_detector(self) -> bool:
        """Whether it drops frames as a trained detector says."""
        return self.tokens is not None and self.tokens.kind == "salad"

    def resolve(self, context: Context | None = None, allow_untrained: bool = False) -> Context:
        """Choose the context to run in.

        Args:
            context: Wanted context; ``None`` takes the default one.
            allow_untrained: Accept a context that was never trained (quality may be bad).

        Raises:
            ConfigError: If the context was not trained, or ends before its token-keep rule can
                decide.

        Example:
            >>> device = Subnet("device", (Context(chunk_size=16, left_context=64),))
            >>> device.resolve(Context(chunk_size=4))
            Traceback (most recent call last):
            ...
            espnet2_supernet.errors.ConfigError: subnet 'device' was not trained for chunk 4, \
left 0, right 0; trained: chunk 16, left 64, right 0 (in frames); choose one of these, or allow \
untrained contexts
        """
        if context is None:
            return self.context
        if context not in self.contexts and not allow_untrained:
            trained = " | ".join(one.in_frames() for one in self.contexts)
            raise ConfigError(
                f"subnet '{self.name}' was not trained for {context.in_frames()}; trained: "
                f"{trained} (in frames); choose one of these, or allow untrained contexts"
            )
        if self.tokens is not None:
            check_decidable(self.name, self.tokens, (context,))
        return context


def check_decidable(where: str, tokens: TokenSpec, contexts: Iterable[Context]) -> None:
    """Refuse to stream under a rule that ranks the frames of the whole utterance.

    Args:
        where: The subnet, for the message.
        tokens: Its rule.
        contexts: Its contexts.

    Raises:
        ConfigError: If one of them is not full context.
    """
    streaming = [context for context in contexts if not context.is_full]
    if tokens.sees_utterance and streaming:
        raise ConfigError(
            f"{where}: tokens.keep_ratio ranks the frames of the whole utterance, which "
            f"{streaming[0].in_frames()} does not wait for: give a threshold (salad: leave "
            "keep_ratio out to take the detector's), or use full context"
        )
