"""Keep rules: the same frames in a stream, enough of them for CTC."""

import itertools

import pytest
import torch

from espnet2_supernet.damon.feasibility import at_least, best_frames, frames_needed
from espnet2_supernet.damon.rules import make_rules
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet import SupernetConfig

torch.set_num_threads(1)

CAUSAL = {
    "salad": {"kind": "salad", "threshold": 0.5},
    "energy": {"kind": "energy", "threshold": 0.0},
    "random": {"kind": "random", "keep_ratio": 0.4},
    "downsample": {"kind": "downsample", "factor": 3},
}
FACTOR = 4


def make(spec, knows_times=True, detector=None):
    torch.manual_seed(0)
    config = SupernetConfig.parse({"subnets": {"server": {"tokens": spec}}})
    rules, made = make_rules(config, 16, knows_times, detector)
    if made is not None:
        made.threshold.fill_(0.5)
        torch.nn.init.normal_(made.linear_out.weight, std=10.0)
        torch.nn.init.zeros_(made.linear_out.bias)
    return rules, made


def rule(spec):
    return make(spec)[0]["server"]


def data(batch=1, size=50, seed=1):
    torch.manual_seed(seed)
    return torch.randn(batch, size, 16), torch.randn(batch, size * FACTOR, 20)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_stream_keeps_what_the_whole_utterance_keeps(kind):
    keeper, (frames, feats) = rule(CAUSAL[kind]), data(2)
    whole = keeper.choose(frames, feats, torch.tensor([50, 50]))
    assert 0.1 < whole.float().mean() < 0.9
    for pieces in ([50], [1], [7, 13, 30], [49, 1]):
        state, found, start = keeper.init_state(2), [], 0
        for size in itertools.islice(itertools.cycle(pieces), 50):
            part = slice(start, start + size)
            made_of = slice(FACTOR * start, FACTOR * (start + size))
            if start < 50:
                keep, _, state = keeper.decide(frames[:, part], feats[:, made_of], state)
                found.append(keep)
            start += size
        assert torch.equal(torch.cat(found, dim=1), whole)


@pytest.mark.parametrize("kind", CAUSAL)
def test_no_decision_looks_ahead_and_padding_is_dropped(kind):
    keeper, (frames, feats) = rule(CAUSAL[kind]), data(2)
    before = keeper.choose(frames, feats, torch.tensor([50, 20]))
    frames[:, 20:] += 1.0
    feats[:, 80:] -= 1.0
    after = keeper.choose(frames, feats, torch.tensor([50, 20]))
    assert torch.equal(before[:, :20], after[:, :20]) and not before[1, 20:].any()
    alone = keeper.choose(frames[1:, :20], feats[1:, :80], torch.tensor([20]))
    assert torch.equal(alone[0], after[1, :20])


@pytest.mark.parametrize("spec", [*CAUSAL.values(), {"kind": "salad", "keep_ratio": 0.01}])
def test_no_utterance_keeps_nothing(spec):
    keeper, (frames, feats) = rule(spec), data(3)
    if spec["kind"] == "salad":
        torch.nn.init.constant_(keeper.detector.linear_out.bias, -1e3)
    keep = keeper.choose(frames, feats - 100.0, torch.tensor([50, 1, 30]))
    assert keep[:, 0].all()


@pytest.mark.parametrize("kind", ["salad", "energy"])
def test_a_keep_ratio_is_kept_of_every_utterance(kind):
    keeper, (frames, feats) = rule({"kind": kind, "keep_ratio": 0.3}), data(3)
    lengths = torch.tensor([50, 10, 1])
    assert keeper.choose(frames, feats, lengths).sum(1).tolist() == [15, 3, 1]


def test_downsampling_keeps_every_second_frame():
    keep = rule({"kind": "downsample"}).choose(*data(1, 7), torch.tensor([7]))
    assert keep[0].tolist() == [True, False, True, False, True, False, True]


def test_random_draws_have_the_ratio_and_follow_the_seed():
    found = []
    for seed in (0, 1):
        keeper = rule({"kind": "random", "keep_ratio": 0.4, "seed": seed})
        frames, feats = torch.zeros(1, 5000, 16), torch.zeros(1, 5000 * FACTOR, 1)
        found.append(keeper.choose(frames, feats, torch.tensor([5000]))[0])
    assert all(abs(float(keep.float().mean()) - 0.4) < 0.03 for keep in found)
    agree = float((found[0] == found[1]).float().mean())
    assert abs(agree - (0.4**2 + 0.6**2)) < 0.04  # as independent draws do


@pytest.mark.parametrize("spec", [*CAUSAL.values(), {"kind": "energy", "keep_ratio": 0.1}])
def test_ctc_gets_the_frames_it_needs(spec):
    keeper, (frames, feats) = rule(spec), data(4, 12)
    lengths, needed = torch.tensor([12, 12, 12, 5]), torch.tensor([0, 9, 30, 5])
    plain = keeper.choose(frames, feats, lengths)
    keep = keeper.choose(frames, feats, lengths, needed)
    assert torch.equal(keep[0], plain[0]) and (keep >= plain).all()
    assert keep.sum(1).tolist() == [
        int(plain[0].sum()), max(9, int(plain[1].sum())), 12, 5
    ]  # fmt: skip
    text = torch.tensor([[2, 2, 3, 3, 3, 2]])
    needs = frames_needed(text, torch.tensor([6]))
    assert needs.tolist() == [9]
    log_probs = torch.zeros(int(keep[1].sum()), 1, 4).log_softmax(-1)
    loss = torch.nn.functional.ctc_loss(
        log_probs, text, keep[1:2].sum(1), torch.tensor([6]), reduction="none"
    )
    assert loss.isfinite().all()


def test_frames_are_added_by_score():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7, 9.0]])
    keep = torch.tensor([[True, False, False, False, False]])
    found = at_least(keep, scores, torch.tensor([4]), torch.tensor([3]))
    assert found[0].tolist() == [True, True, False, True, False]
    assert best_frames(scores, torch.tensor([4]), torch.tensor([2]))[0].tolist() == [
        False, True, False, True, False
    ]  # fmt: skip


def test_the_detector_brings_its_threshold():
    rules, detector = make({"kind": "salad"})
    assert rules["server"].threshold == 0.0  # log-odds of one half
    detector.threshold.fill_(0.25)
    assert rules["server"].threshold == pytest.approx(-1.0986, abs=1e-4)
    assert not any(p.requires_grad for p in detector.parameters())
    assert rule({"kind": "salad", "threshold": 0.25}).threshold == pytest.approx(-1.0986, abs=1e-4)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (({"kind": "downsample"}, False), "write positions: compacted"),
        (
            ({"kind": "downsample", "before_block": 2, "positions": "compacted"}, False),
            "frames before block 1; write positions: original",
        ),
        (
            ({"kind": "downsample", "restore_before_block": 2, "positions": "compacted"}, False),
            "frames before block 1; write positions: original",
        ),
        (({"kind": "energy", "threshold": 0.0}, True, {"channels": 8}), "no subnet has tokens"),
        (({"kind": "salad"}, True, {"channel": 8}), "did you mean 'channels'"),
        (({"kind": "salad"}, True, {"kernel_size": 0}), "kernel_size is a whole number from 1"),
    ],
)
def test_what_nothing_can_use_is_refused(args, message):
    with pytest.raises(ConfigError, match=message):
        make(*args)


def test_none_keeps_all_at_no_cost():
    assert make({"kind": "none"}, knows_times=False) == ({}, None)
