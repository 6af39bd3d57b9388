import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.ranking import rank_layers


def mask_at(pattern, score, fraction):
    scores = pattern.group_scores(score)
    sizes = pattern.group_sizes(score.shape)
    keep = rank_layers([scores], [sizes], fraction * pattern.sparsity, "layer")[0]
    return pattern.expand(keep, score.shape)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(n + 1, 8))),
    st.integers(1, 6),
    st.integers(1, 20),
    st.floats(0, 1),
    st.integers(0, 999),
)
def test_masks_are_valid_on_the_way_and_exact_at_the_end(n_m, rows, cols, fraction, seed):
    pattern = NM(*n_m)
    torch.manual_seed(seed)
    score = torch.rand(rows, cols)
    pattern.check(mask_at(pattern, score, fraction))
    final = mask_at(pattern, score, 1.0)
    pattern.check(final, final=True)
    for start in range(0, cols, pattern.m):  # the best of every run are those kept
        run, kept = score[:, start : start + pattern.m], final[:, start : start + pattern.m]
        wanted = min(pattern.n, run.shape[1])
        best = run.topk(wanted, dim=1).values
        assert torch.equal(run.masked_fill(~kept, -1).topk(wanted, dim=1).values, best)


def test_ramp_prunes_the_smallest_candidates_first():
    score = torch.tensor([[9.0, 8.0, 1.0, 4.0, 9.0, 8.0, 3.0, 2.0]])
    assert mask_at(NM(2, 4), score, 0.5).int().tolist() == [[1, 1, 0, 1, 1, 1, 1, 0]]


def test_ties_go_by_position():
    mask = mask_at(NM(2, 4), torch.ones(2, 4), 1.0)
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]


def test_bad_masks_are_named():
    mask = torch.tensor([[1, 1, 0, 0, 1, 0, 0, 0]]).bool()
    with pytest.raises(ConfigError, match="n_m 2:4: row 0, columns from 4 keep 1"):
        NM(2, 4).check(mask)
    NM(2, 4).check(torch.ones(1, 8).bool())
    with pytest.raises(ConfigError, match="keep 4"):
        NM(2, 4).check(torch.ones(1, 8).bool(), final=True)
