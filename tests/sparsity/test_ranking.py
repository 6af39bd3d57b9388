import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.sparsity.ranking import keep_best, rank_layers


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 300), st.floats(0, 1))
def test_equal_groups_reach_the_nearest_count(groups, sparsity):
    keep = keep_best(torch.arange(groups).float(), torch.full((groups,), 16), sparsity)
    pruned = groups - int(keep.sum())
    assert abs(pruned - sparsity * groups) <= 0.5 + 1e-5
    assert keep.tolist() == [False] * pruned + [True] * (groups - pruned)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 99))
def test_ragged_groups_come_within_half_a_group(sizes, sparsity, seed):
    torch.manual_seed(seed)
    sizes = torch.tensor(sizes)
    pruned = int(sizes[~keep_best(torch.rand(len(sizes)), sizes, sparsity)].sum())
    assert abs(pruned - sparsity * int(sizes.sum())) <= int(sizes.max()) / 2 + 1e-5


def test_ties_go_in_order_of_position():
    assert keep_best(torch.ones(4), torch.ones(4), 0.5).tolist() == [False, False, True, True]


def test_infinite_scores_stay():
    assert keep_best(torch.full((3,), torch.inf), torch.ones(3), 0.9).all()


def test_layers_keep_their_share_or_compete():
    scores = [torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([5.0, 6.0, 7.0, 8.0])]
    sizes = [torch.ones(4), torch.ones(4)]
    by_layer = rank_layers(scores, sizes, 0.5, "layer")
    assert [keep.int().tolist() for keep in by_layer] == [[0, 0, 1, 1], [0, 0, 1, 1]]
    together = rank_layers(scores, sizes, 0.5, "global")
    # The first layer keeps its best group, though it is in the worse half; the 5 goes instead.
    assert [keep.int().tolist() for keep in together] == [[0, 0, 0, 1], [0, 1, 1, 1]]


def test_no_layer_dies():
    for ranking in ("layer", "global"):
        sizes = [torch.ones(3), torch.ones(5)]
        kept = rank_layers([torch.rand(3), torch.rand(5)], sizes, 0.99, ranking)
        assert [int(keep.sum()) for keep in kept] == [1, 1]
