"""Promise 1: streamed equals masked, from the waveform, for every encoder and context."""

import itertools

import pytest
import torch

from espnet2_supernet.encoder import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
    SupernetWav2Vec2Encoder,
)
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.depth import Depth

torch.set_num_threads(1)


def shallow(encoder):
    """The active subnet runs blocks 1 and 2 of 3; of block 0 the norm is kept."""
    encoder.blocks.depth, encoder.blocks.keep_norm = Depth(2, "last"), True
    return encoder


ENCODERS = {
    "transformer": lambda: SupernetTransformerEncoder(20, 16, 2, 32, num_blocks=3),
    "conformer": lambda: SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=3, cnn_module_kernel=7, subsampling_channels=4
    ),
    "conformer_shallow": lambda: shallow(
        SupernetConformerEncoder(
            20, 16, 2, 32, num_blocks=3, cnn_module_kernel=7, subsampling_channels=4
        )
    ),
    "wav2vec2_shallow": lambda: shallow(
        SupernetWav2Vec2Encoder(20, 16, 2, 32, num_blocks=3, conv_pos=8, conv_pos_groups=4)
    ),
    "conformer_stack": lambda: SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, cnn_module_kernel=5, subsampling="stack"
    ),
    "transformer_conv2d": lambda: SupernetTransformerEncoder(
        20, 16, 2, 32, num_blocks=2, subsampling="conv2d", subsampling_channels=4
    ),
    "conformer_conv1d": lambda: SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, cnn_module_kernel=5, subsampling="conv1d"
    ),
    "transformer_none": lambda: SupernetTransformerEncoder(
        20, 16, 2, 32, num_blocks=2, subsampling="none"
    ),
    "wav2vec2_base": lambda: SupernetWav2Vec2Encoder(
        20, 16, 2, 32, num_blocks=2, conv_pos=8, conv_pos_groups=4
    ),
    "wav2vec2_large": lambda: SupernetWav2Vec2Encoder(
        20, 16, 2, 32, num_blocks=2, layer_norm_first=True, conv_pos=7, conv_pos_groups=2
    ),
}
CONTEXTS = [
    Context(chunk_size=chunk, left_context=left, right_context=right)
    for chunk, left, right in itertools.product([1, 2, 5, 8], [0, 3, 16], [0, 1, 4])
]


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


def frontend() -> LogMelFrontend:
    return LogMelFrontend(n_mels=20)


def masked(encoder, wavs: list[torch.Tensor], context: Context) -> list[torch.Tensor]:
    lengths = torch.tensor([len(wav) for wav in wavs])
    feats = frontend()(torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), lengths)
    with torch.no_grad():
        out, out_lengths, _ = encoder(*feats, context=context)
    return [one[:n] for one, n in zip(out, out_lengths, strict=True)]


def streamed(encoder, wav: torch.Tensor, context: Context, pieces: list[int]) -> torch.Tensor:
    mel, state = frontend().streaming(), encoder.init_state(context)
    out, sizes = [], itertools.cycle(pieces)
    while len(wav):
        size = next(sizes)
        piece, wav = wav[:size], wav[size:]
        frames, state = encoder.stream(mel.accept(piece)[None], state)
        out.append(frames)
    out.append(encoder.stream(mel.finish()[None], state, is_final=True)[0])
    return torch.cat(out, dim=1)[0]


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: c.describe(1))
def test_streamed_equals_masked(encoder, context):
    torch.manual_seed(1)
    wav = torch.randn(17_777)
    alone = masked(encoder, [wav], context)[0]
    assert alone.shape == (((17_777 - 400) // 160 + 1) // encoder.subsampling_factor, 16)
    for pieces in ([1600], [37, 4001, 0, 160], [20_000]):
        assert (streamed(encoder, wav, context, pieces) - alone).abs().max() <= 1e-4


@pytest.mark.parametrize("samples", [1, 399, 400, 1039, 1040, 3000])
def test_short_sounds(encoder, samples):
    wav, context = torch.randn(samples), Context(chunk_size=4, left_context=4, right_context=1)
    alone = masked(encoder, [wav], context)[0]
    stream = streamed(encoder, wav, context, [100])
    assert stream.shape == alone.shape
    torch.testing.assert_close(stream, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "context", [Context(), Context(chunk_size=4, left_context=6, right_context=2)], ids=str
)
def test_padding_changes_nothing(encoder, context):
    torch.manual_seed(2)
    wavs = [torch.randn(n) for n in (3_000, 9_000, 16_000, 500)]
    together = masked(encoder, wavs, context)
    for wav, out in zip(wavs, together, strict=True):
        torch.testing.assert_close(masked(encoder, [wav], context)[0], out, atol=1e-4, rtol=0)


@pytest.mark.parametrize("right", [0, 2])
def test_nothing_beyond_the_look_ahead_matters(encoder, right):
    """Frame i of chunk k needs the samples of the chunk, its right context and one window."""
    torch.manual_seed(3)
    context, chunk = Context(chunk_size=5, left_context=10, right_context=right), 5
    wav = torch.randn(20_000)
    before = masked(encoder, [wav], context)[0]
    for k in (1, 3):
        frames = k * chunk + chunk + right
        last = (frames * encoder.subsampling_factor - 1) * 160 + 400
        changed = torch.cat([wav[:last], torch.randn(20_000 - last)])
        after = masked(encoder, [changed], context)[0]
        torch.testing.assert_close(after[: (k + 1) * chunk], before[: (k + 1) * chunk])
        assert (after[(k + 1) * chunk :] - before[(k + 1) * chunk :]).abs().max() > 1e-3


def test_left_context_is_bounded(encoder):
    """With L frames of left context, B blocks and a kernel the past reaches no further."""
    torch.manual_seed(4)
    wav, context = torch.randn(60_000), Context(chunk_size=2, left_context=2)
    changed = torch.cat([torch.randn(6_400), wav[6_400:]])
    before, after = (masked(encoder, [w], context)[0] for w in (wav, changed))
    torch.testing.assert_close(after[-40:], before[-40:])
    assert (after[:10] - before[:10]).abs().max() > 1e-3


def test_state_does_not_grow(encoder):
    torch.manual_seed(5)
    state, sizes = encoder.init_state(Context(chunk_size=4, left_context=8, right_context=1)), []
    for _ in range(30):
        _, state = encoder.stream(torch.randn(1, 16, 20), state)
        tensors = [state.feats, state.frames, *state.subsampling]
        tensors += [t for block in state.blocks for t in (block.key, block.value, block.conv)]
        sizes.append(sum(t.numel() for t in tensors))
        # views keep their base alive: what is held must be what is counted
        held = sum(t.untyped_storage().size() // 4 for t in tensors)
        assert held <= 6 * sizes[-1]
    assert len(set(sizes[5:])) == 1


def test_full_context_equals_one_large_chunk(encoder):
    wav = torch.randn(16_000)
    large = Context(chunk_size=1000)
    torch.testing.assert_close(
        masked(encoder, [wav], Context())[0], masked(encoder, [wav], large)[0], atol=1e-5, rtol=0
    )


def test_full_context_cannot_be_streamed(encoder):
    with pytest.raises(ConfigError, match="streaming subnet"):
        encoder.init_state(Context())


def test_a_batch_streams_together(encoder):
    torch.manual_seed(6)
    feats, context = torch.randn(3, 64, 20), Context(chunk_size=3, left_context=4, right_context=1)
    with torch.no_grad():
        whole, _, _ = encoder(feats, torch.tensor([64] * 3), context=context)
    first, state = encoder.stream(feats[:, :30], encoder.init_state(context, 3))
    second, _ = encoder.stream(feats[:, 30:], state, is_final=True)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-4, rtol=0)
