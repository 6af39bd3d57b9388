import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.pattern import Block, Elementwise, Structured

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
PATTERNS = st.one_of(
    st.just(Elementwise()),
    st.builds(Block, st.integers(1, 5), st.integers(1, 5)),
    st.builds(Structured, st.sampled_from(["output", "input"]), st.integers(1, 4)),
)


@settings(deadline=None, max_examples=60)
@given(PATTERNS, SHAPES, st.integers(0, 999))
def test_groups_tile_the_matrix(pattern, shape, seed):
    sizes = pattern.group_sizes(shape)
    assert int(sizes.sum()) == shape[0] * shape[1]
    torch.manual_seed(seed)
    keep = torch.rand(len(sizes)) < 0.5
    mask = pattern.expand(keep, shape)
    assert mask.dtype == torch.bool and mask.shape == shape
    assert int(mask.sum()) == int(sizes[keep].sum())
    pattern.check(mask, final=True)


@settings(deadline=None, max_examples=60)
@given(PATTERNS, SHAPES, st.integers(0, 999))
def test_group_score_is_the_mean_over_its_weights(pattern, shape, seed):
    torch.manual_seed(seed)
    score = torch.rand(shape)
    scores = pattern.group_scores(score)
    groups = torch.eye(len(scores), dtype=torch.bool)
    means = [score[pattern.expand(one, shape)].mean() for one in groups]
    torch.testing.assert_close(scores, torch.stack(means))


def test_ragged_block_is_scored_by_its_real_size():
    score = torch.tensor([[1.0, 1.0, 3.0]])
    assert Block(2, 2).group_scores(score).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "pattern, name",
    [(Block(2, 2), "block 2x2.*row 2, column 0"), (Structured("output"), "structured output")],
)
def test_a_torn_group_is_named(pattern, name):
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[3, 1] = False
    with pytest.raises(ConfigError, match=name):
        pattern.check(mask)


def test_structured_units_can_be_heads():
    mask = Structured("output", unit=2).expand(torch.tensor([True, False]), (4, 2))
    assert mask.int().tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
