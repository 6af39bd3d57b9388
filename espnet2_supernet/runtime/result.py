"""What has been recognised of a stream so far."""

from __future__ import annotations

from espnet2_supernet.runtime.search.hypothesis import Transcript
from espnet2_supernet.runtime.text import TextDecoder


class StreamingResult:
    """A snapshot of the transcript; lists are made when asked for, so a snapshot costs little.

    Attributes:
        is_final: Whether the stream has ended.
        num_committed: Leading tokens that can no longer change.
    """

    def __init__(
        self,
        transcript: Transcript,
        pending: tuple[list[int], list[int]],
        decoder: TextDecoder,
        frame_ms: float,
        is_final: bool,
    ) -> None:
        """Remember how far the append-only transcript reaches now."""
        self._transcript = transcript
        self._pending = pending
        self._decoder = decoder
        self._frame_ms = frame_ms
        self.num_committed = len(transcript)
        self.is_final = is_final

    @property
    def token_int(self) -> list[int]:
        """Token ids so far ``(U,)``."""
        return self._transcript.tokens[: self.num_committed].tolist() + self._pending[0]

    @property
    def frames(self) -> list[int]:
        """Encoder frame at which each token was emitted ``(U,)``."""
        committed = self._transcript.frames[: self.num_committed].tolist()
        latest = committed[-1] if committed else 0
        return committed + [max(frame, latest) for frame in self._pending[1]]

    @property
    def times(self) -> list[float]:
        """Start of each token's emission frame in seconds ``(U,)``."""
        return [frame * self._frame_ms / 1000.0 for frame in self.frames]

    @property
    def tokens(self) -> list[str]:
        """Tokens so far ``(U,)``."""
        return self._decoder.tokens(self.token_int)

    @property
    def text(self) -> str | None:
        """Text so far; ``None`` if no token type is known."""
        return self._decoder.text(self.tokens)
