"""CTC search against brute force, cut into pieces, and with a bounded state."""

import itertools
import math

import numpy as np
import pytest
import torch

from bigram_lm import BigramLM
from espnet2_supernet.runtime.search.ctc import GreedyCTC
from espnet2_supernet.runtime.search.ctc_beam import PrefixBeamCTC


def random_log_probs(frames, vocab, seed, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(frames, vocab)) * sharpness
    return torch.from_numpy(logits).log_softmax(-1).numpy()


def collapse(path):
    return tuple(k for k, _ in itertools.groupby(path) if k != 0)


def brute_force(log_probs):
    """Every sequence with the log-probability of all its paths, best first."""
    frames, vocab = log_probs.shape
    totals = {}
    for path in itertools.product(range(vocab), repeat=frames):
        score = sum(log_probs[t, k] for t, k in enumerate(path))
        totals.setdefault(collapse(path), []).append(score)
    summed = {key: np.logaddexp.reduce(scores) for key, scores in totals.items()}
    return sorted(summed.items(), key=lambda item: -item[1])


def run(search, log_probs, sizes=None, count=1):
    state, position = search.init_state(), 0
    for size in sizes or [len(log_probs)]:
        search.advance(state, log_probs[position : position + size])
        position += size
    assert position == len(log_probs)
    return search.nbest(state, count)


def test_greedy_collapses_repeats_and_times_run_starts():
    path = [0, 1, 1, 0, 1, 2, 2, 0, 3]
    log_probs = torch.full((9, 4), -10.0)
    log_probs[range(9), path] = -0.1
    [found] = run(GreedyCTC(), log_probs)
    assert found.tokens == (1, 1, 2, 3)
    assert found.frames == (1, 4, 5, 8)
    assert found.score == pytest.approx(-0.9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("frames", "vocab"), [(1, 3), (4, 3), (6, 3), (5, 4)])
def test_prefix_beam_is_exact_when_nothing_is_pruned(frames, vocab, seed):
    log_probs = random_log_probs(frames, vocab, seed)
    expected = brute_force(log_probs)
    search = PrefixBeamCTC(10_000, token_top_k=None, prune_margin=None, commit_every=10_000)
    found = run(search, log_probs, count=len(expected))
    assert len(found) == len(expected)
    scores = dict(expected)
    for one in found:
        assert one.score == pytest.approx(scores[one.tokens], abs=1e-9)
    assert found[0].tokens == expected[0][0]


@pytest.mark.parametrize("seed", range(4))
def test_fusion_is_exact_when_nothing_is_pruned(seed):
    log_probs, lm = random_log_probs(5, 4, seed), BigramLM(random_log_probs(4, 4, seed + 100))
    search = PrefixBeamCTC(
        10_000, lm, 0.7, 0.3, token_top_k=None, prune_margin=None, commit_every=10_000
    )
    found = run(search, log_probs, count=10_000)
    for tokens, acoustic in brute_force(log_probs):
        [score] = [one.score for one in found if one.tokens == tokens]
        assert score == pytest.approx(acoustic + 0.7 * lm.score(tokens) + 0.3 * len(tokens))


def test_a_pruned_prefix_that_returns_is_not_counted_twice():
    # beam 2: sequences leave the beam and come back below living descendants
    for seed in range(30):
        log_probs = random_log_probs(40, 3, seed, sharpness=0.5)
        found = run(PrefixBeamCTC(4, commit_every=1000), log_probs, count=4)
        assert len({one.tokens for one in found}) == len(found)


@pytest.mark.parametrize(
    "search",
    [GreedyCTC(), PrefixBeamCTC(5), PrefixBeamCTC(5, BigramLM(random_log_probs(6, 6, 0)), 0.5)],
)
def test_pieces_do_not_change_the_result(search):
    log_probs = random_log_probs(200, 6, 3)
    whole = run(search, log_probs, count=5)
    for sizes in ([1] * 200, [0, 7, 0, 93, 100], [199, 1]):
        assert run(search, log_probs, sizes, count=5) == whole


def test_commits_do_not_change_the_result():
    log_probs = random_log_probs(300, 8, 5, sharpness=3.0)
    never = run(PrefixBeamCTC(8, commit_every=10_000, max_pending=10_000), log_probs)[0]
    often = run(PrefixBeamCTC(8, commit_every=1), log_probs)[0]
    assert often.tokens == never.tokens
    assert often.score == pytest.approx(never.score)


def test_frames_follow_the_best_path():
    path = [0, 0, 1, 1, 0, 0, 2, 0, 2, 0]
    log_probs = torch.full((10, 4), math.log(0.05))
    log_probs[range(10), path] = math.log(0.85)
    [found] = run(PrefixBeamCTC(8), log_probs.log_softmax(-1))
    assert found.tokens == (1, 2, 2)
    assert found.frames == (2, 6, 8)


def living_nodes(state):
    nodes = set()
    for beam in state.beams:
        node = beam.node
        while node is not None:
            nodes.add(id(node))
            node = node.parent
    return len(nodes)


def chain_length(link):
    length = 0
    while link is not None:
        length, link = length + 1, link.parent
    return length


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 6.0])
def test_the_state_stays_bounded(sharpness):
    search = PrefixBeamCTC(8, max_pending=40, commit_every=4)
    state = search.init_state()
    sizes, chains = [], []
    for seed in range(40):
        search.advance(state, random_log_probs(50, 12, seed, sharpness))
        sizes.append(living_nodes(state))
        chains.append(max(chain_length(a) for beam in state.beams for a in beam.alignments()))
        best = state.beams[0].node
        assert best.depth - state.root.depth <= 40
    assert max(sizes) <= 8 * 42
    assert max(chains) <= 45
    assert state.frame == 2000


def test_forced_commit_keeps_the_best_beam():
    # two equally likely first tokens would stay undecided for ever
    log_probs = np.full((400, 4), math.log(0.0001))
    log_probs[:, 0] = math.log(0.0001)
    log_probs[0, 1] = log_probs[0, 2] = math.log(0.5)
    log_probs[1::2, 3] = math.log(0.9997)
    log_probs[2::2, 0] = math.log(0.9997)
    search = PrefixBeamCTC(4, max_pending=20, prune_margin=None)
    state = search.init_state()
    search.advance(state, log_probs)
    assert state.beams[0].node.depth - state.root.depth <= 20
    tokens = search.nbest(state)[0].tokens
    assert tokens[0] in (1, 2) and set(tokens[1:]) == {3} and len(tokens) == 201


@pytest.mark.parametrize("search", [GreedyCTC(), PrefixBeamCTC(3)])
def test_bad_frames_are_refused(search):
    state = search.init_state()
    with pytest.raises(ValueError, match="NaN"):
        search.advance(state, torch.full((2, 3), float("nan")))
    with pytest.raises(ValueError, match=r"\(T, V\)"):
        search.advance(state, torch.zeros(3))


@pytest.mark.parametrize("search", [GreedyCTC(), PrefixBeamCTC(3)])
def test_no_frames_give_an_empty_hypothesis(search):
    [found] = run(search, torch.zeros(0, 5))
    assert found.tokens == () and found.frames == () and found.score == 0.0


def test_impossible_frames_leave_a_hypothesis():
    log_probs = torch.full((5, 3), -math.inf)
    [found] = run(PrefixBeamCTC(3, token_top_k=None, prune_margin=None), log_probs)
    assert found.score == -math.inf
