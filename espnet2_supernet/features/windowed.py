"""What all front-ends share: frames are windows of the waveform, whole or in a stream."""

from __future__ import annotations

from abc import abstractmethod

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torch import Tensor


class WindowedFrontend(AbsFrontend):
    """Frame ``t`` covers the samples ``[t * hop_length, t * hop_length + win_length)``.

    Args:
        fs: Sampling rate in Hz.
        win_length: Samples of a window.
        hop_length: Samples from window to window.

    Attributes:
        sees_utterance: Whether frames of a whole utterance depend on more than their windows.
            Then ``forward`` takes a third argument, ``streaming``.
        learned: Whether training changes the features.
    """

    sees_utterance = False
    learned = False

    def __init__(self, fs: int, win_length: int, hop_length: int) -> None:
        super().__init__()
        self.fs, self.win_length, self.hop_length = fs, win_length, hop_length

    @property
    def lookahead_ms(self) -> float:
        """Part of a window that lies beyond its hop, in ms."""
        return 1000.0 * (self.win_length - self.hop_length) / self.fs

    def num_frames(self, num_samples: Tensor) -> Tensor:
        """Count frames: whole windows only, but one for any sound at all.

        Args:
            num_samples: Samples of each waveform ``(B,)``.

        Returns:
            Frames ``(B,)``.
        """
        frames = 1 + (num_samples - self.win_length).div(self.hop_length, rounding_mode="floor")
        return frames.clamp(min=1) * (num_samples > 0)

    @abstractmethod
    def frames(self, samples: Tensor) -> Tensor:
        """Features of all whole windows in ``samples (B, N)``: ``(B, T, F)``."""

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features.

        Args:
            input: Waveforms ``(B, N)``, zero-padded.
            input_lengths: Samples of each ``(B,)``.

        Returns:
            Features ``(B, T, F)``, zero beyond each length, and their lengths ``(B,)``.
        """
        return self.cut(self.frames(self.pad(input, input_lengths)), input_lengths)

    def pad(self, input: Tensor, input_lengths: Tensor) -> Tensor:
        """Zero what lies beyond each length, and fill up to one window."""
        positions = torch.arange(input.size(1), device=input.device)
        samples = input.float().masked_fill(positions >= input_lengths[:, None], 0.0)
        missing = max(0, self.win_length - samples.size(1))
        return torch.nn.functional.pad(samples, (0, missing))

    def cut(self, feats: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Zero features ``(B, T, F)`` beyond the frames of each utterance; count these ``(B,)``."""
        lengths = self.num_frames(input_lengths)
        feats = feats[:, : int(lengths.max())]
        steps = torch.arange(feats.size(1), device=feats.device)
        return feats.masked_fill((steps >= lengths[:, None])[:, :, None], 0.0), lengths

    def streaming(self) -> StreamingFrames:
        """The stateful twin of this front-end."""
        return StreamingFrames(self)


class StreamingFrames:
    """Computes the same frames from a waveform that arrives in pieces of any size."""

    def __init__(self, frontend: WindowedFrontend) -> None:
        self.frontend = frontend
        tensors = [*frontend.parameters(), *frontend.buffers()]
        self._like = tensors[0]
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self.rest = self._like.new_zeros(0)
        self.started = False

    def accept(self, samples: Tensor) -> Tensor:
        """Take samples ``(n,)``; return the features ``(t, F)`` of the windows they complete."""
        frontend = self.frontend
        self.rest = torch.cat([self.rest, samples.to(self.rest)])
        windows = 1 + (self.rest.numel() - frontend.win_length) // frontend.hop_length
        if windows < 1:
            return self.rest.new_zeros(0, frontend.output_size())
        whole = frontend.win_length + (windows - 1) * frontend.hop_length
        feats = self.next_frames(self.rest[None, :whole])[0]
        self.rest = self.rest[windows * frontend.hop_length :]
        self.started = True
        return feats

    def next_frames(self, samples: Tensor) -> Tensor:
        """Features ``(1, t, F)`` of the next t windows, given their samples ``(1, N)``."""
        return self.frontend.frames(samples)

    def finish(self) -> Tensor:
        """End the sound and forget it.

        Returns:
            Features ``(1, F)`` of one padded window if all was shorter than one, else ``(0, F)``.
        """
        feats = self.rest.new_zeros(0, self.frontend.output_size())
        if self.rest.numel() and not self.started:
            feats = self.accept(self.rest.new_zeros(self.frontend.win_length - self.rest.numel()))
        self.reset()
        return feats
