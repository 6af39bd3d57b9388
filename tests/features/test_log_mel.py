"""Log-mel features and their streaming twin."""

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend


@pytest.mark.parametrize("samples", [1, 100, 400, 559, 560, 16000])
@pytest.mark.parametrize("piece", [1, 160, 401, 16000])
def test_streaming_equals_batch(samples, piece):
    if samples == 16000 and piece == 1:
        piece = 7
    torch.manual_seed(0)
    frontend, wav = LogMelFrontend(), torch.randn(samples)
    feats, lengths = frontend(wav[None], torch.tensor([samples]))
    stream = frontend.streaming()
    parts = [stream.accept(part) for part in wav.split(piece)] + [stream.finish()]
    assert int(lengths) == max(1, (samples - 400) // 160 + 1)
    torch.testing.assert_close(torch.cat(parts), feats[0], atol=1e-5, rtol=1e-5)


def test_a_tone_peaks_in_its_band():
    frontend = LogMelFrontend()
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    feats, _ = frontend(tone[None], torch.tensor([16000]))
    centres = frontend.filters.argmax(dim=0) * 16000 / 512
    assert abs(float(centres[feats[0, 10].argmax()]) - 1000) < 60


def test_padding_is_silent_and_lengths_are_exact():
    frontend = LogMelFrontend()
    wav = torch.randn(2, 4000)  # garbage beyond the second utterance's end
    feats, lengths = frontend(wav, torch.tensor([4000, 300]))
    assert lengths.tolist() == [23, 1]
    assert feats[1, 1:].abs().sum() == 0
    alone, _ = frontend(wav[1:, :300], torch.tensor([300]))
    torch.testing.assert_close(alone[0], feats[1, :1])


def test_no_samples_no_frames():
    _, lengths = LogMelFrontend()(torch.zeros(1, 0), torch.tensor([0]))
    assert lengths.tolist() == [0]


def test_impossible_windows_are_refused():
    with pytest.raises(ConfigError, match="win_length"):
        LogMelFrontend(win_length=600, n_fft=512)
