"""Log-mel filterbank whose frames depend on no sample outside their window."""

from __future__ import annotations

import torch
from torchaudio.functional import melscale_fbanks

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.windowed import WindowedFrontend

# Below the power that 16-bit quantisation noise leaves in a mel band: silence is a constant.
LOG_FLOOR = 1e-8


class LogMelFrontend(WindowedFrontend):
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
        super().__init__(fs, win_length, hop_length)
        if not 0 < hop_length <= win_length <= n_fft:
            raise ConfigError(
                "frontend_conf: need 0 < hop_length <= win_length <= n_fft, "
                f"got {hop_length}, {win_length}, {n_fft}"
            )
        self.n_mels, self.n_fft = n_mels, n_fft
        filters = melscale_fbanks(n_fft // 2 + 1, fmin, fmax or fs / 2, n_mels, fs)
        self.register_buffer("window", torch.hann_window(win_length), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def output_size(self) -> int:
        """Number of mel bands."""
        return self.n_mels

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Features of all whole windows in ``samples (B, N)``: ``(B, T, F)``."""
        # float32 whatever the autocast: half precision cannot hold the range of a power spectrum
        with torch.autocast(samples.device.type, enabled=False):
            windows = samples.unfold(-1, self.win_length, self.hop_length) * self.window
            power = torch.fft.rfft(windows, n=self.n_fft).abs().square()
            return (power @ self.filters).clamp(min=LOG_FLOOR).log()
