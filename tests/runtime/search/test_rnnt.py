"""RNN-T search against brute force, cut into pieces, and with a bounded state."""

import math

import numpy as np
import pytest
import torch
from espnet2.asr_transducer.decoder.rnn_decoder import RNNDecoder
from espnet2.asr_transducer.decoder.stateless_decoder import StatelessDecoder
from espnet2.asr_transducer.joint_network import JointNetwork

from bigram_lm import BigramLM
from espnet2_supernet.decode.predictor import TransducerHead
from espnet2_supernet.runtime.search.rnnt import GreedyRNNT
from espnet2_supernet.runtime.search.rnnt_beam import BeamRNNT

DIM = 6


def make_head(vocab, predictor="rnn", seed=0, gain=3.0, blank_bias=0.0):
    torch.manual_seed(seed)
    if predictor == "rnn":
        decoder = RNNDecoder(vocab, embed_size=5, hidden_size=4, num_layers=2)
    else:
        decoder = StatelessDecoder(vocab, embed_size=5)
    joint = JointNetwork(vocab, DIM, decoder.output_size, 7)
    with torch.no_grad():
        joint.lin_out.weight.mul_(gain)
        joint.lin_out.bias[0] += blank_bias
    return TransducerHead(decoder.eval(), joint.eval())


def frames(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(count, DIM, generator=generator)


def bigram_lm(vocab):
    logits = np.random.default_rng(0).normal(size=(vocab, vocab))
    return BigramLM(torch.from_numpy(logits).log_softmax(-1).numpy())


@torch.no_grad()
def step_log_probs(head, enc, tokens):
    """Symbol scores of one frame after a history, by the modules' batch forward."""
    labels = torch.tensor([[head.blank_id, *tokens]])
    out = head.predictor(labels)[0, -1:]
    return head.joint(enc[None], out).log_softmax(-1)[0].double().tolist()


def brute_force(head, enc, vocab, max_symbols):
    """Every sequence with the sum over its paths of at most ``max_symbols`` tokens per frame."""
    totals = {(): 0.0}
    for t in range(len(enc)):
        finished, active = {}, dict(totals)
        for _ in range(max_symbols + 1):
            grown = {}
            for tokens, score in active.items():
                row = step_log_probs(head, enc[t], tokens)
                old = finished.get(tokens, -math.inf)
                finished[tokens] = np.logaddexp(old, score + row[0])
                for token in range(1, vocab):
                    grown[(*tokens, token)] = score + row[token]
            active = grown
        totals = finished
    return totals


def run(search, enc, sizes=None, count=1):
    state, position = search.init_state(), 0
    for size in sizes or [len(enc)]:
        search.advance(state, enc[position : position + size])
        position += size
    assert position == len(enc)
    return search.nbest(state, count)


@pytest.mark.parametrize("predictor", ["rnn", "stateless"])
@pytest.mark.parametrize(("count", "max_symbols"), [(1, 2), (2, 2), (3, 1)])
def test_beam_is_exact_when_nothing_is_pruned(predictor, count, max_symbols):
    head, enc = make_head(3, predictor, seed=count), frames(count)
    expected = brute_force(head, enc, 3, max_symbols)
    search = BeamRNNT(head, 10_000, max_symbols, prune_margin=None, commit_every=10_000)
    found = run(search, enc, count=10_000)
    assert len(found) == len(expected)
    for one in found:
        assert one.score == pytest.approx(expected[one.tokens], abs=1e-4)
    assert found[0].score == max(one.score for one in found)


def test_fusion_is_exact_when_nothing_is_pruned():
    head, enc, lm = make_head(4), frames(2), bigram_lm(4)
    expected = brute_force(head, enc, 4, 2)
    search = BeamRNNT(head, 10_000, 2, lm, 0.6, 0.2, prune_margin=None)
    for one in run(search, enc, count=10_000):
        bonus = 0.6 * lm.score(one.tokens) + 0.2 * len(one.tokens)
        assert one.score == pytest.approx(expected[one.tokens] + bonus, abs=1e-4)


@pytest.mark.parametrize("predictor", ["rnn", "stateless"])
@pytest.mark.parametrize("seed", range(3))
def test_greedy_is_the_plain_loop(predictor, seed):
    head, enc = make_head(5, predictor, seed, blank_bias=0.5), frames(40, seed)
    tokens, times, score = [], [], 0.0
    for t in range(len(enc)):
        for symbols in range(4):
            row = step_log_probs(head, enc[t], tokens)
            best = 0 if symbols == 3 else int(np.argmax(row))
            score += row[best]
            if best == 0:
                break
            tokens.append(best)
            times.append(t)
    [found] = run(GreedyRNNT(head, max_symbols=3), enc)
    assert found.tokens == tuple(tokens) and found.frames == tuple(times)
    assert found.score == pytest.approx(score, abs=1e-3)


def test_greedy_gives_up_a_frame_that_never_says_blank():
    head = make_head(4, blank_bias=-1000.0)
    [found] = run(GreedyRNNT(head, max_symbols=5), frames(6))
    assert found.frames == tuple(t for t in range(6) for _ in range(5))


@pytest.mark.parametrize("kind", ["greedy", "beam", "fusion"])
def test_pieces_do_not_change_the_result(kind):
    head, enc = make_head(8, blank_bias=1.0), frames(60)
    search = {
        "greedy": GreedyRNNT(head),
        "beam": BeamRNNT(head, 4),
        "fusion": BeamRNNT(head, 4, lm=bigram_lm(8), lm_weight=0.4),
    }[kind]
    whole = run(search, enc, count=4)
    assert whole[0].tokens
    for sizes in ([1] * 60, [0, 7, 0, 33, 20], [59, 1]):
        cut = run(search, enc, sizes, count=4)
        assert [(one.tokens, one.frames) for one in cut] == [
            (one.tokens, one.frames) for one in whole
        ]
        assert [one.score for one in cut] == pytest.approx([one.score for one in whole], abs=1e-3)


def test_a_wider_beam_finds_a_better_score_than_greedy():
    head, enc = make_head(6, seed=4, blank_bias=0.5), frames(30, 4)
    [greedy] = run(GreedyRNNT(head, 3), enc)
    assert run(BeamRNNT(head, 8), enc)[0].score >= greedy.score


def test_commits_do_not_change_the_result():
    head, enc = make_head(8, seed=2, blank_bias=1.0), frames(80, 2)
    never = run(BeamRNNT(head, 4, commit_every=10_000, max_pending=10_000), enc)[0]
    often = run(BeamRNNT(head, 4, commit_every=1), enc)[0]
    assert often.tokens == never.tokens


def test_the_state_stays_bounded():
    head = make_head(10, blank_bias=-1.0)
    search = BeamRNNT(head, 4, max_pending=8, commit_every=4)
    state = search.init_state()
    for seed in range(12):
        search.advance(state, frames(25, seed))
        for beam in state.beams:
            links, link = 0, beam.alignment
            while link is not None:
                links, link = links + 1, link.parent
            nodes, node = 0, beam.node
            while node is not None:
                nodes, node = nodes + 1, node.parent
            assert links <= 24 and nodes <= 24
    assert len(state.transcript) > 24
    assert not getattr(head.predictor, "score_cache", {})  # ESPnet's cache is never filled


@pytest.mark.parametrize("kind", [GreedyRNNT, BeamRNNT])
def test_bad_and_missing_frames(kind):
    search = kind(make_head(4))
    state = search.init_state()
    search.advance(state, torch.zeros(0, DIM))
    [found] = search.nbest(state)
    assert found.tokens == () and found.score == 0.0
    with pytest.raises(ValueError, match="NaN"):
        search.advance(state, torch.full((2, DIM), float("nan")))
