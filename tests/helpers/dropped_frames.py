"""Encoders, rules and passes for the tests of dropped frames."""

import itertools

import torch

from espnet2_supernet.encoder import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
    SupernetWav2Vec2Encoder,
)
from espnet2_supernet.encoder.kept_past import NEVER
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.supernet.context import Context

ENCODERS = {
    "transformer": lambda: SupernetTransformerEncoder(20, 16, 2, 32, num_blocks=3),
    "conformer": lambda: SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=3, cnn_module_kernel=7, subsampling_channels=4
    ),
    "wav2vec2": lambda: SupernetWav2Vec2Encoder(
        20, 16, 2, 32, num_blocks=3, conv_pos=8, conv_pos_groups=4
    ),
}

CONTEXTS = [
    Context(chunk_size=chunk, left_context=left, right_context=right)
    for chunk, left, right in itertools.product([1, 5], [0, 7], [0, 2])
]
AHEAD = Context(chunk_size=5, left_context=7, right_context=2)


class Told:
    """Keeps the frames that a list says, the last value for all that follow."""

    def __init__(
        self,
        keep: torch.Tensor,
        compacted: bool,
        before_block: int = 1,
        restore_before_block: int | None = None,
        with_change: bool = False,
    ):
        self.keep, self.compacted, self.before_block = keep, compacted, before_block
        self.restore_before_block, self.with_change = restore_before_block, with_change

    def init_state(self, batch_size):
        return 0

    def decide(self, frames, feats, state):
        assert feats.size(1) % frames.size(1) == 0
        return self.keep[:, state : state + frames.size(1)], frames, state + frames.size(1)


def features(*sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    wavs = [torch.randn(size) for size in sizes]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    return LogMelFrontend(n_mels=20)(padded, torch.tensor(sizes))


def masked(encoder, feats, lengths, context, keep, *where):
    """What is kept of each utterance, and when it was.

    ``where``: whether positions are compacted, the block before which frames are dropped.
    """
    with torch.no_grad():
        frames, lengths = encoder.subsample(feats, lengths)
        keep = keep[:, : frames.size(1)] & (torch.arange(frames.size(1)) < lengths[:, None])
        out, lengths = encoder.encode_frames(frames, lengths, context, keep, *where)
    assert lengths.tolist() == keep.sum(1).tolist()
    times = [torch.nonzero(row)[:, 0] for row in keep]
    return [one[:n] for one, n in zip(out, lengths, strict=True)], times


def streamed(encoder, feats, context, keeper, pieces):
    state, out, times, sizes = encoder.init_state(context, len(feats), keeper), [], [], [*pieces]
    while feats.size(1):
        size = sizes[len(out) % len(sizes)]
        frames, state = encoder.stream(feats[:, :size], state)
        feats = feats[:, size:]
        out.append(frames)
        times.append(state.times)
    frames, state = encoder.stream(feats, state, is_final=True)
    out, times = torch.cat([*out, frames], dim=1), torch.cat([*times, state.times], dim=1)
    real = times != NEVER
    return [x[m] for x, m in zip(out, real, strict=True)], [
        t[m] for t, m in zip(times, real, strict=True)
    ]


def assert_same(found, expected, atol=1e-4):
    """Compare what is kept of every utterance, which may be nothing of some but not of all."""
    assert sum(one.numel() for one in expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=atol, rtol=0)


def some(size: int, ratio: float, seed: int = 0, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, size, generator=generator) < ratio
