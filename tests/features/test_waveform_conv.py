"""The front-end of wav2vec 2.0: its published form, its streaming twin, its look-ahead."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.waveform_conv import WaveformConvFrontend

torch.set_num_threads(1)

LAYERS = [[6, 10, 5], *[[6, 3, 2]] * 4, *[[6, 2, 2]] * 2]
KINDS = {
    "group": {"norm": "group"},
    "layer": {"norm": "layer", "conv_bias": True},
    "layer_input": {"norm": "layer", "conv_bias": True, "normalize_input": True},
}


def make(kind, **conf):
    torch.manual_seed(0)
    frontend = WaveformConvFrontend(conv_feature_layers=LAYERS, **(KINDS[kind] | conf)).eval()
    with torch.no_grad():
        for parameter in frontend.norms.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return frontend


@pytest.fixture(params=KINDS)
def frontend(request):
    return make(request.param)


def whole(frontend, *wavs, streaming=True):
    lengths = torch.tensor([len(wav) for wav in wavs])
    args = (True,) if streaming else ()
    with torch.no_grad():
        feats, counts = frontend(
            torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), lengths, *args
        )
    assert not feats.masked_fill(
        (torch.arange(feats.size(1)) < counts[:, None])[..., None], 0.0
    ).any()
    return [one[:count] for one, count in zip(feats, counts, strict=True)]


@torch.no_grad()
def streamed(frontend, wav, sizes):
    twin, out = frontend.streaming(), []
    for size in itertools.cycle(sizes):
        out.append(twin.accept(wav[:size]))
        wav = wav[size:]
        if not len(wav):
            return torch.cat([*out, twin.finish()])


def speech(samples, level=0.1, offset=0.02):
    """Noise that starts in silence and grows."""
    ramp = torch.linspace(-0.3, 1.0, samples).clamp(min=0.0)
    return level * ramp * torch.randn(samples) + offset


@pytest.mark.parametrize("sizes", [[1], [320], [7, 0, 1000, 333], [50_000]], ids=str)
def test_streamed_equals_whole(frontend, sizes):
    torch.manual_seed(1)
    wav = speech(6_500)
    expected = whole(frontend, wav)[0]
    assert expected.shape == ((6_500 - 400) // 320 + 1, 6)
    torch.testing.assert_close(streamed(frontend, wav, sizes), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [1, 9, 399, 400, 719, 720])
@pytest.mark.parametrize("streaming", [False, True])
def test_short_sounds(frontend, samples, streaming):
    wav = 0.1 * torch.randn(samples)
    feats = whole(frontend, wav, streaming=streaming)[0]
    assert feats.shape == (1 + (samples >= 720), 6) and feats.isfinite().all()
    if streaming:
        torch.testing.assert_close(streamed(frontend, wav, [100]), feats, atol=1e-5, rtol=1e-4)


def test_no_sound_has_no_frame(frontend):
    assert whole(frontend, torch.zeros(0))[0].shape == (0, 6)
    assert frontend.streaming().finish().shape == (0, 6)


@pytest.mark.parametrize("streaming", [False, True])
def test_padding_changes_nothing(frontend, streaming):
    torch.manual_seed(2)
    wavs = [speech(n) for n in (9_000, 3_217, 500, 1_600)]
    for wav, found in zip(wavs, whole(frontend, *wavs, streaming=streaming), strict=True):
        alone = whole(frontend, wav, streaming=streaming)[0]
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)


def test_streaming_features_look_five_milliseconds_ahead(frontend):
    assert frontend.lookahead_ms == 5.0 and frontend.hop_length == 320
    torch.manual_seed(3)
    wav, frame = speech(9_000), 10
    last = 320 * (frame - 1) + 400
    changed = torch.cat([wav[:last], torch.randn(9_000 - last)])
    before, after = whole(frontend, wav)[0], whole(frontend, changed)[0]
    torch.testing.assert_close(before[:frame], after[:frame])
    assert (before[frame] - after[frame]).abs().max() > 1e-3


def test_which_kinds_see_the_utterance():
    assert [make(kind).sees_utterance for kind in KINDS] == [True, False, True]
    wav = speech(4_000)
    for kind in KINDS:
        frontend = make(kind)
        both = [whole(frontend, wav, streaming=streaming)[0] for streaming in (False, True)]
        assert torch.allclose(*both, atol=1e-5) == (not frontend.sees_utterance)


def test_whole_utterances_are_the_published_formula():
    torch.manual_seed(4)
    wav = speech(5_000)
    group, layer = make("group"), make("layer_input")
    with torch.no_grad():
        x, norm = wav[None, None], group.norms[0]
        for number, conv in enumerate(group.convs):
            x = conv(x)
            x = F.gelu(F.group_norm(x, 6, norm.weight, norm.bias) if number == 0 else x)
        found = whole(group, wav, streaming=False)[0]
        torch.testing.assert_close(found, x[0].T, atol=1e-5, rtol=1e-4)
        x = F.layer_norm(wav, wav.shape)[None, None]
        for conv, norm in zip(layer.convs, layer.norms, strict=True):
            x = F.gelu(norm(conv(x).transpose(1, 2)).transpose(1, 2))
        found = whole(layer, wav, streaming=False)[0]
        torch.testing.assert_close(found, x[0].T, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["group", "layer_input"])
def test_level_and_offset_do_not_matter(kind):
    torch.manual_seed(5)
    frontend, wav = make(kind), 0.3 * torch.randn(64_000)
    louder = 3.0 * wav + 0.2
    found = [whole(frontend, w, streaming=False)[0] for w in (wav, louder)]
    torch.testing.assert_close(*found, atol=2e-2, rtol=1e-2)
    # in a stream what it starts with fades
    found = [whole(frontend, w)[0] for w in (wav, louder)]
    difference = (found[0] - found[1]).abs().mean(1)
    assert difference[-20:].mean() < 0.02 and difference[0] > 3 * difference[-20:].mean()


@pytest.mark.parametrize("kind", ["group", "layer_input"])
def test_silence_at_the_start_of_a_stream_stays_silence(kind):
    torch.manual_seed(5)
    frontend = make(kind)
    norm = frontend.input_norm or frontend.norms[0]
    wav = 0.0005 * torch.randn(1, 1, 320 * 20 + 400)
    with torch.no_grad():
        x = wav if frontend.input_norm is not None else frontend.convs[0](wav)
        found, _ = norm.cumulative(x, frontend.start(norm))
        if norm.weight is not None:
            found = (found - norm.bias[:, None]) / norm.weight[:, None]
    assert 0.005 < found[..., -100:].std() < 0.06


def test_cumulative_statistics_end_at_those_of_the_utterance():
    torch.manual_seed(6)
    frontend, wav = make("group"), 0.1 * torch.randn(160_000)
    found = [whole(frontend, wav, streaming=streaming)[0] for streaming in (False, True)]
    difference = (found[0] - found[1]).abs().mean(1)
    assert difference[-50:].max() < 0.02 < difference[0]


def test_the_state_does_not_grow():
    twin = make("group").streaming()
    for _ in range(50):
        twin.accept(torch.randn(800))
        (heard,) = twin.heard.values()
        assert twin.rest.numel() < 400 and heard.sums.shape == (2, 1, 6)
    assert heard.frames == 64 + 15 + 64 * 124


def test_gradients_reach_every_parameter(frontend):
    feats, _ = frontend(torch.randn(2, 4_000), torch.tensor([4_000, 3_000]), True)
    feats.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in frontend.parameters())


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"norm": "batch"}, "frontend_conf.norm: one of group, layer, got 'batch'"),
        ({"normalize_input": True}, "has no effect with norm: group"),
        ({"conv_feature_layers": [[6, 10]]}, "conv_feature_layers: write"),
        ({"conv_feature_layers": [[6, 0, 5]]}, "conv_feature_layers: write"),
        ({"conv_feature_layers": []}, "conv_feature_layers: write"),
        ({"conv_feature_layers": [[6, 10, 5], [6, 9, 2]]}, "to two hops, these are 50 and 10"),
    ],
)
def test_bad_values_are_named(conf, message):
    with pytest.raises(ConfigError, match=message):
        WaveformConvFrontend(**conf)
