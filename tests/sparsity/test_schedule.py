import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_supernet.sparsity.schedule import Constant, Cubic, OneShot

SCHEDULES = st.tuples(
    st.sampled_from([Constant, Cubic]), st.integers(1, 50), st.integers(0, 50), st.integers(1, 20)
).map(lambda s: s[0](begin=s[1], end=s[1] + s[2], update_every=s[3]))


def test_cubic_golden_numbers():
    cubic = Cubic(begin=100, end=500, update_every=100)
    # 1 - (1 - p)^3 at p = 0, 1/4, 1/2, 3/4, 1
    assert [cubic.target(t) for t in (99, 100, 200, 300, 400, 500, 600)] == [
        0.0, 0.0, 0.578125, 0.875, 0.984375, 1.0, 1.0,
    ]  # fmt: skip
    assert 0.7 * cubic.target(137) == pytest.approx(0.7 * (1 - (1 - 37 / 400) ** 3), abs=1e-12)


def test_cubic_may_start_sparse():
    cubic = Cubic(begin=0, end=10, initial=0.5)
    assert [cubic.target(t) for t in (0, 5, 10)] == [0.5, 1 - 0.5 / 8, 1.0]


@given(SCHEDULES)
def test_last_update_reaches_the_final_sparsity_and_nothing_follows(schedule):
    updates = [step for step in range(150) if schedule.is_update(step)]
    assert updates[0] == schedule.begin and updates[-1] == schedule.end
    assert schedule.target(schedule.end) == 1.0
    assert not schedule.is_frozen(schedule.end - 1) and schedule.is_frozen(schedule.end)
    targets = [schedule.target(step) for step in updates]
    assert targets == sorted(targets)
    assert all((step - schedule.begin) % schedule.update_every == 0 for step in updates[:-1])


def test_one_shot_updates_once():
    schedule = OneShot(7, 7)
    assert [step for step in range(50) if schedule.is_update(step)] == [7]
    assert [schedule.target(step) for step in (6, 7, 8)] == [0.0, 1.0, 1.0]
    assert [schedule.is_frozen(step) for step in (6, 7)] == [False, True]


def test_without_freeze_estimation_goes_on():
    schedule = Cubic(begin=10, end=25, update_every=10, freeze=False)
    assert [step for step in range(60) if schedule.is_update(step)] == [10, 20, 25, 30, 40, 50]
    assert schedule.target(50) == 1.0 and not schedule.is_frozen(50) and schedule.is_finished(50)
