"""Features and subsampling of the runtime against the trained model's."""

import numpy as np
import pytest
import torch

from espnet2_supernet.encoder.subsampling import SUBSAMPLING
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.runtime.layers.features import GlobalMVN, LogMel, StreamingLogMel
from espnet2_supernet.runtime.layers.row_matrix import RowMatrix
from espnet2_supernet.runtime.layers.subsampling import Conv2dSubsampling, StackSubsampling


def log_mel(frontend):
    filters = RowMatrix(frontend.filters.numpy().T)
    return LogMel(frontend.window.numpy(), filters, frontend.hop_length)


def numpy_weights(module):
    return {key: value.detach().numpy() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("options", [{}, {"fs": 8000, "n_mels": 40, "n_fft": 256, "win_length": 200,
                                          "hop_length": 80}])  # fmt: skip
@pytest.mark.parametrize("length", [1, 399, 400, 401, 5000])
def test_features_equal_those_of_torch(options, length):
    frontend = LogMelFrontend(**options)
    speech = (0.1 * np.random.default_rng(0).standard_normal(length)).astype(np.float32)
    speech[length // 2 :] *= 1e-4  # near silence, too
    twin = frontend.streaming()
    expected = torch.cat([twin.accept(torch.from_numpy(speech)), twin.finish()]).numpy()
    for size in (1, 7, 160, 1000, length):
        if length // size > 500:
            continue
        stream = StreamingLogMel(log_mel(frontend))
        pieces = [stream.accept(speech[i : i + size]) for i in range(0, length, size)]
        found = np.concatenate([*pieces, stream.finish()])
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_kept_between_pieces_is_bounded():
    stream = StreamingLogMel(log_mel(LogMelFrontend()))
    stream.accept(np.zeros(160_000, np.float32))
    assert stream._rest.base is None and len(stream._rest) < 400


@pytest.mark.parametrize("means", [True, False])
@pytest.mark.parametrize("variances", [True, False])
def test_normalisation_equals_that_of_espnet(tmp_path, means, variances):
    from espnet2.layers.global_mvn import GlobalMVN as ESPnetMVN

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "s.npz", count=1, sum=rng.normal(size=6), sum_square=rng.uniform(9, 16, 6))
    theirs = ESPnetMVN(tmp_path / "s.npz", means, variances)
    feats = rng.normal(size=(5, 6)).astype(np.float32)
    expected, _ = theirs(torch.from_numpy(feats.copy())[None])
    mean, std = (x.numpy().astype(np.float32) for x in (theirs.mean, theirs.std))
    ours = GlobalMVN(mean if means else None, std if variances else None)
    np.testing.assert_allclose(ours(feats), expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["conv2d", "stack"])
@pytest.mark.parametrize("features", [7, 12, 80])
def test_subsampling_equals_that_of_torch(kind, features):
    torch.manual_seed(0)
    theirs = SUBSAMPLING[kind](features, 16, **({"channels": 5} if kind == "conv2d" else {}))
    weights = numpy_weights(theirs)
    ours = (
        StackSubsampling(weights, 16) if kind == "stack" else Conv2dSubsampling(weights, features)
    )
    feats = torch.randn(1, 40, features)
    with torch.no_grad():
        expected = theirs(feats, theirs.init_state(1))[0][0].numpy()
    state, found = ours.init_state(), []
    for start, stop in ((0, 4), (4, 24), (24, 40)):
        frames, state = ours(feats[0, start:stop].numpy(), state)
        found.append(frames)
    assert ours.factor == 4
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)
