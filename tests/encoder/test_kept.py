"""Promise 1 with dropped frames: streamed equals masked, whatever is kept, alone or in a batch."""

import itertools

import pytest
import torch

from dropped_frames import ENCODERS, Told, assert_same, features, masked, some, streamed
from espnet2_supernet.supernet.context import Context

torch.set_num_threads(1)

CONTEXTS = [
    Context(chunk_size=chunk, left_context=left, right_context=right)
    for chunk, left, right in itertools.product([1, 5], [0, 3, 16], [0, 2])
]


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


@pytest.mark.parametrize("compacted", [False, True], ids=["original", "compacted"])
@pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: c.describe(1))
def test_streamed_equals_masked(encoder, context, compacted):
    torch.manual_seed(1)
    feats, lengths = features(17_777)
    keep = some(120, 0.5)
    keep[:, 20:45] = False  # chunks of which nothing is left
    alone, times = masked(encoder, feats, lengths, context, keep, compacted)
    for pieces in ([16], [3, 41, 0, 1], [200]):
        found, when = streamed(encoder, feats, context, Told(keep, compacted), pieces)
        assert_same(found, alone)
        assert_same(when, times)


@pytest.mark.parametrize(
    "context", [Context(), Context(chunk_size=4, left_context=6, right_context=2)], ids=str
)
def test_padding_changes_nothing(encoder, context):
    torch.manual_seed(2)
    sizes = (3_000, 9_000, 16_000, 1_100)
    feats, lengths = features(*sizes)
    keep = some(120, 0.5, batch=4)
    together, times = masked(encoder, feats, lengths, context, keep)
    alone = [
        masked(encoder, feats[i : i + 1, :n], lengths[i : i + 1], context, keep[i : i + 1])
        for i, n in enumerate(lengths.tolist())
    ]
    assert_same(together, [out for [out], _ in alone])
    assert_same(times, [when for _, [when] in alone])


def test_streams_that_advance_together(encoder):
    torch.manual_seed(3)
    context = Context(chunk_size=5, left_context=7, right_context=1)
    feats, lengths = features(16_000, 16_000, 16_000)
    keep = torch.stack([some(120, ratio)[0] for ratio in (0.2, 0.6, 1.0)])
    together, times = masked(encoder, feats, lengths, context, keep)
    found, when = streamed(encoder, feats, context, Told(keep, False), [17])
    assert_same(found, together)
    assert_same(when, times)


@pytest.mark.parametrize("context", [Context(), *CONTEXTS[::4]], ids=lambda c: c.describe(1))
def test_to_keep_all_changes_nothing(encoder, context):
    torch.manual_seed(4)
    feats, lengths = features(9_000, 16_000)
    plain, out_lengths, _ = encoder(feats, lengths, context=context)
    for compacted in (False, True):
        found, _ = masked(encoder, feats, lengths, context, some(120, 2.0, batch=2), compacted)
        assert_same(found, [x[:n] for x, n in zip(plain, out_lengths, strict=True)])


@pytest.mark.parametrize("compacted", [False, True])
def test_full_context_is_the_encoder_over_what_is_left(encoder, compacted):
    """With compacted positions, an encoder that never saw the others computes the same."""
    torch.manual_seed(5)
    feats, lengths = features(16_000)
    keep = some(120, 0.5)
    [found], [times] = masked(encoder, feats, lengths, Context(), keep, compacted)
    with torch.no_grad():
        frames, _ = encoder.subsample(feats, lengths)
        left = frames[:, times]
        expected, _ = encoder.encode_frames(left, torch.tensor([left.size(1)]))
    same_as_plain = torch.allclose(found, expected[0], atol=1e-4)
    assert same_as_plain == (compacted or not encoder.knows_times)


@pytest.mark.parametrize("right", [0, 2])
def test_nothing_beyond_the_look_ahead_matters(encoder, right):
    """Chunks count frames of the utterance: the latency is that without dropping."""
    torch.manual_seed(6)
    context, chunk = Context(chunk_size=5, left_context=10, right_context=right), 5
    feats, lengths = features(20_000)
    keep = some(160, 0.6)
    keep[:, :30] = True
    [before], [times] = masked(encoder, feats, lengths, context, keep)
    for k in (1, 3):
        last = (k * chunk + chunk + right) * encoder.subsampling_factor
        changed = torch.cat([feats[:, :last], torch.randn_like(feats[:, last:])], dim=1)
        [after], _ = masked(encoder, changed, lengths, context, keep)
        known = times < (k + 1) * chunk
        torch.testing.assert_close(after[known], before[known])
        assert (after[~known] - before[~known]).abs().max() > 1e-3


def test_dropped_frames_do_not_matter(encoder):
    torch.manual_seed(7)
    keep = some(120, 0.5)
    with torch.no_grad():
        frames = torch.randn(1, 30, 16)
        changed = frames.clone()
        changed[:, ~keep[0, :30]] += 1.0
        for context in (Context(), Context(chunk_size=4, left_context=8, right_context=1)):
            results = [
                encoder.encode_frames(x, torch.tensor([30]), context, keep[:, :30])[0]
                for x in (frames, changed)
            ]
            torch.testing.assert_close(*results)


def test_state_does_not_grow(encoder):
    torch.manual_seed(8)
    keeper = Told(some(2_000, 0.5), False)
    state = encoder.init_state(Context(chunk_size=4, left_context=8, right_context=1), 1, keeper)
    sizes = []
    for _ in range(30):
        _, state = encoder.stream(torch.randn(1, 16, 20), state)
        past = state.dropping.past
        tensors = [state.feats, state.frames, *state.subsampling, past.times, past.num_kept]
        tensors += [t for block in state.blocks for t in (block.key, block.value, block.conv)]
        sizes.append(sum(t.numel() for t in tensors) + state.dropping.keep.numel())
    assert len(set(sizes[5:])) <= 4 and max(sizes[5:]) <= max(sizes[:5]) + 200


def test_gradients_flow_to_kept_frames_only():
    torch.manual_seed(9)
    encoder = ENCODERS["conformer"]()
    keep = some(20, 0.5, batch=2)
    keep[1, 12:] = False
    lengths = torch.tensor([20, 12])
    for context in (Context(), Context(chunk_size=4, left_context=8, right_context=1)):
        frames = torch.randn(2, 20, 16, requires_grad=True)
        out, _ = encoder.encode_frames(frames, lengths, context, keep)
        out.square().sum().backward()
        told = frames.grad.abs().sum(-1) > 0
        assert torch.equal(told, keep)


def test_an_utterance_that_keeps_nothing(encoder):
    keep = torch.zeros(2, 10, dtype=torch.bool)
    keep[1, 3] = True
    for context in (Context(), Context(chunk_size=4, left_context=4)):
        out, lengths = encoder.encode_frames(
            torch.randn(2, 10, 16), torch.tensor([10, 10]), context, keep
        )
        assert lengths.tolist() == [0, 1] and out.shape == (2, 1, 16)
        assert out.isfinite().all() and (out[0] == 0).all()
