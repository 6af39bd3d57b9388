import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.schedule import Constant, Cubic, OneShot
from espnet2_supernet.sparsity.schedule_spec import ScheduleSpec, parse_schedule


def test_fractions_become_steps():
    spec = parse_schedule({"kind": "cubic", "begin": 0.1, "end": 0.5, "update_every": 50})
    assert spec.resolve(2000) == Cubic(200, 1000, 50)
    assert parse_schedule({"kind": "one_shot", "begin": 0.25}).resolve(100) == OneShot(25, 25)
    whole = parse_schedule({"kind": "constant", "begin": 0.0, "end": 1.0, "freeze": False})
    assert whole.resolve(100) == Constant(1, 100, 500, False)


def test_whole_steps_need_no_total():
    spec = parse_schedule({"kind": "cubic", "begin": 10, "end": 50})
    assert not spec.needs_total_steps and spec.resolve() == Cubic(10, 50, 500)
    with pytest.raises(ConfigError, match="set_total_steps"):
        parse_schedule({"begin": 0.1, "end": 50}).resolve()


def test_default_is_cubic():
    assert parse_schedule(None) == parse_schedule({}) == ScheduleSpec("cubic", 0.1, 0.5, 500)


@pytest.mark.parametrize("kind", ["cubic", "constant", "one_shot"])
def test_round_trip(kind):
    spec = parse_schedule({"kind": kind, "begin": 0.2})
    assert parse_schedule(spec.to_dict()) == spec


@pytest.mark.parametrize(
    "spec, message",
    [
        ("cubic", "write a block"),
        ({"kind": "linear"}, "there are: one_shot, constant, cubic"),
        ({"kind": "one_shot", "end": 0.5}, "unknown key 'end'"),
        ({"update_evry": 5}, "did you mean 'update_every'"),
        ({"begin": 1.5}, "between 0.0 and 1.0"),
        ({"begin": -3}, "not negative"),
        ({"begin": "0.1"}, "a fraction of training"),
        ({"begin": True}, "a fraction of training"),
        ({"end": 1}, "1 is ambiguous"),
        ({"begin": 0.6}, "comes before"),
        ({"update_every": 0}, "from 1"),
        ({"freeze": "no"}, "true or false"),
        ({"initial": 2}, "from 0 to 1"),
    ],
)
def test_refuses(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_schedule(spec)


def test_end_before_begin_is_seen_once_steps_are_known():
    with pytest.raises(ConfigError, match=r"end \(step 10\) comes before begin \(step 50\)"):
        parse_schedule({"begin": 0.5, "end": 10}).resolve(100)
