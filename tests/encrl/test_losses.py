"""Losses of representation learning against plain loops; padding never counts."""

import pytest
import torch

from espnet2_supernet.encrl import losses, settings
from espnet2_supernet.errors import DataError

torch.set_num_threads(1)
LENGTHS = torch.tensor([5, 2, 1])


def batch(seed=0, size=4):
    return torch.randn(3, 5, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("loss", "distance"),
    [
        (losses.mse, lambda a, b: (a - b).square().mean()),
        (losses.mae, lambda a, b: (a - b).abs().mean()),
        (losses.agreement, lambda a, b: (a.argmax() == b.argmax()).float()),
    ],
)
def test_frames_are_averaged_in_each_utterance(loss, distance):
    teacher, student = batch(0), batch(1)
    expected = torch.stack(
        [
            torch.stack([distance(teacher[i, t], student[i, t]) for t in range(n)]).mean()
            for i, n in enumerate(LENGTHS.tolist())
        ]
    ).mean()
    torch.testing.assert_close(loss(teacher, student, LENGTHS), expected)


@pytest.mark.parametrize("loss", [losses.mse, losses.mae, losses.agreement])
def test_padding_never_counts(loss):
    teacher, student = batch(0), batch(1)
    before = loss(teacher, student, LENGTHS)
    for i, n in enumerate(LENGTHS.tolist()):
        teacher[i, n:] = 1e6
        student[i, n:] = float("nan")
    assert torch.equal(loss(teacher, student, LENGTHS), before)


def test_padding_is_not_pooled():
    encoded = batch()
    expected = torch.stack([encoded[i, :n].mean(0) for i, n in enumerate(LENGTHS.tolist())])
    encoded[1, 2:] = float("inf")
    torch.testing.assert_close(losses.pool(encoded, LENGTHS), expected)


def test_clip_is_the_mean_of_both_directions():
    teacher, student = batch(0)[:, 0], batch(1)[:, 0]
    scores = [[2.0 * float(s @ t) for t in teacher] for s in student]
    rows = [-torch.tensor(row).log_softmax(0)[i] for i, row in enumerate(scores)]
    columns = [
        -torch.tensor(col).log_softmax(0)[i] for i, col in enumerate(zip(*scores, strict=True))
    ]
    loss, retrieval = losses.clip(teacher, student, 2.0)
    assert float(loss) == pytest.approx(sum(map(float, rows + columns)) / 6, rel=1e-5)
    right = sum(row.index(max(row)) == i for i, row in enumerate(scores))
    assert float(retrieval) == pytest.approx(right / 3)


def test_clip_needs_two_utterances():
    with pytest.raises(DataError, match="only one.*batch_size"):
        losses.clip(torch.ones(1, 4), torch.ones(1, 4), 1.0)


def test_the_defaults_are_the_papers():
    given = settings.EncRLSettings.parse(None, "log_softmax", None, False)
    assert {key for key in settings.LOSSES if given.has(key)} == {"mse", "clip"}
    assert given.weights["mse"] == given.weights["clip"] == 1.0
    assert (given.normalize, given.learn_scale) == (False, False)
    assert given.scale == pytest.approx(14.286, abs=1e-3)
