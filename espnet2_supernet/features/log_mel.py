"""Log-mel filterbank whose frames depend on no sample outside their window."""

from __future__ import annotations

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torchaudio.functional import melscale_fbanks

from espnet2_supernet.errors import ConfigError

# Below the power that 16-bit quantisation noise leaves in a mel band: silence is a constant.
LOG_FLOOR = 1e-8


class LogMelFrontend(AbsFrontend):
    """Log-mel features for both modes.

    Frame ``t`` covers the samples ``[t * hop_length, t * hop_length + win_length)``. ESPnet's
    default front-end centres frames and reflects the edges, so that the first frames look at
    samples to come and the last ones depend on padding; this one does neither (our choice).

    Args:
        fs: Sampling rate in Hz.
        n_mels: Number of mel bands F.
        n_fft: FFT size in samples.
        win_length: Window in samples (400 = 25 ms at 16 kHz).
        hop_length: Shift in samples (160 = 10 ms at 16 kHz).
        fmin: Lowest frequency in Hz.
        fmax: Highest frequency in Hz; half of ``fs`` when None.

    Raises:
        ConfigError: If the window does not fit the FFT or the hop the window.
    """

    def __init__(
        self,
        fs: int = 16000,
        n_mels: int = 80,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        fmin: float = 20.0,
        fmax: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 < hop_length <= win_length <= n_fft:
            raise ConfigError(
                "frontend_conf: need 0 < hop_length <= win_length <= n_fft, "
                f"got {hop_length}, {win_length}, {n_fft}"
            )
        self.fs, self.n_mels, self.n_fft = fs, n_mels, n_fft
        self.win_length, self.hop_length = win_length, hop_length
        filters = melscale_fbanks(n_fft // 2 + 1, fmin, fmax or fs / 2, n_mels, fs)
        self.register_buffer("window", torch.hann_window(win_length), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def output_size(self) -> int:
        """Number of mel bands."""
        return self.n_mels

    @property
    def lookahead_ms(self) -> float:
        """Part of a window that lies beyond its hop, in ms."""
        return 1000.0 * (self.win_length - self.hop_length) / self.fs

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """Count frames: whole windows only, but one for any sound at all.

        Args:
            num_samples: Samples of each waveform ``(B,)``.

        Returns:
            Frames ``(B,)``.
        """
        frames = 1 + (num_samples - self.win_length).div(self.hop_length, rounding_mode="floor")
        return frames.clamp(min=1) * (num_samples > 0)

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Features of all whole windows in ``samples (B, N)``: ``(B, T, F)``."""
        windows = samples.unfold(-1, self.win_length, self.hop_length) * self.window
        power = torch.fft.rfft(windows, n=self.n_fft).abs().square()
        return (power @ self.filters).clamp(min=LOG_FLOOR).log()

    def forward(
        self, input: torch.Tensor, input_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features.

        Args:
            input: Waveforms ``(B, N)``, zero-padded.
            input_lengths: Samples of each ``(B,)``.

        Returns:
            Features ``(B, T, F)``, zero beyond each length, and their lengths ``(B,)``.
        """
        positions = torch.arange(input.size(1), device=input.device)
        # float32 whatever the autocast: half precision cannot hold the range of a power spectrum
        with torch.autocast(input.device.type, enabled=False):
            samples = input.float().masked_fill(positions >= input_lengths[:, None], 0.0)
            if samples.size(1) < self.win_length:
                samples = torch.nn.functional.pad(samples, (0, self.win_length - samples.size(1)))
            feats = self.frames(samples)
        lengths = self.num_frames(input_lengths)
        feats = feats[:, : int(lengths.max())]
        steps = torch.arange(feats.size(1), device=feats.device)
        return feats.masked_fill((steps >= lengths[:, None])[:, :, None], 0.0), lengths

    def streaming(self) -> StreamingLogMel:
        """The stateful twin of this front-end."""
        return StreamingLogMel(self)


class StreamingLogMel:
    """Computes the same frames from a waveform that arrives in pieces of any size."""

    def __init__(self, frontend: LogMelFrontend) -> None:
        self.frontend = frontend
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self.rest = self.frontend.window.new_zeros(0)
        self.started = False

    def accept(self, samples: torch.Tensor) -> torch.Tensor:
        """Take samples ``(n,)``; return the features ``(t, F)`` of the windows they complete."""
        frontend = self.frontend
        self.rest = torch.cat([self.rest, samples.to(self.rest)])
        if self.rest.numel() < frontend.win_length:
            return self.rest.new_zeros(0, frontend.n_mels)
        feats = frontend.frames(self.rest[None])[0]
        self.rest = self.rest[feats.size(0) * frontend.hop_length :]
        self.started = True
        return feats

    def finish(self) -> torch.Tensor:
        """End the sound and forget it.

        Returns:
            Features ``(1, F)`` of one padded window if all was shorter than one, else ``(0, F)``.
        """
        feats = self.rest.new_zeros(0, self.frontend.n_mels)
        if self.rest.numel() and not self.started:
            feats = self.accept(self.rest.new_zeros(self.frontend.win_length - self.rest.numel()))
        self.reset()
        return feats
