"""Full-context and streaming features of a step."""

import torch

from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.features.views import (
    counted_features,
    feature_views,
    features_for,
    stack_views,
    view_of,
)
from espnet2_supernet.features.waveform_conv import WaveformConvFrontend
from espnet2_supernet.supernet.context import Context

FULL, CHUNKED = Context(), Context(chunk_size=4)
LAYERS = [[4, 10, 5], [4, 3, 2]]


def test_log_mel_has_one_view():
    frontend = LogMelFrontend(n_mels=4)
    assert feature_views(frontend, [FULL, CHUNKED]) == [False]
    wav, lengths = torch.randn(2, 2000), torch.tensor([2000, 900])
    for streaming in (False, True):
        feats, counts = features_for(frontend, wav, lengths, streaming)
        assert torch.equal(feats, frontend(wav, lengths)[0]) and counts.tolist() == [11, 4]


def test_a_group_norm_has_a_view_for_each_mode():
    frontend = WaveformConvFrontend(conv_feature_layers=LAYERS)
    assert feature_views(frontend, [CHUNKED, FULL, CHUNKED]) == [False, True]
    assert feature_views(frontend, [CHUNKED]) == [True]
    layer = WaveformConvFrontend(conv_feature_layers=LAYERS, norm="layer")
    assert feature_views(layer, [CHUNKED, FULL]) == [False]


def test_views_are_drawn_alike_and_found_again():
    def compute(streaming):
        return torch.randn(2, 3, 4) + 100 * streaming, torch.tensor([3, 2])

    views = [False, True]
    feats, lengths = stack_views(compute, views)
    assert feats.shape == (4, 3, 4) and lengths.tolist() == [3, 2]
    full, chunked = (view_of(feats, views, context) for context in (FULL, CHUNKED))
    torch.testing.assert_close(full + 100, chunked)
    single, _ = stack_views(compute, [False])
    assert torch.equal(view_of(single, [False], CHUNKED), single)


def test_given_and_learnt_features_are_not_computed_for_statistics():
    wav, lengths = torch.randn(2, 2000), torch.tensor([2000, 900])
    feats, counts = features_for(None, wav, lengths, True)
    assert torch.equal(feats, wav) and counts is lengths
    learnt = counted_features(WaveformConvFrontend(conv_feature_layers=LAYERS), wav, lengths)
    assert learnt["feats"] is wav
    assert counted_features(LogMelFrontend(n_mels=4), wav, lengths)["feats"].shape == (2, 11, 4)
