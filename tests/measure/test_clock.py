"""What a clock counts, and what it leaves to the glue."""

import time

from espnet2_supernet.measure.clock import StageClock, Timed


class Worker:
    size = 3

    def work(self, seconds):
        time.sleep(seconds)
        return "done"


def test_stages_are_parts_of_the_whole():
    clock = StageClock()
    worker = Timed(Worker(), clock, "encoder", ("work",))

    def call():
        clock.stage("features", time.sleep, 0.002)
        worker.work(0.002)
        return worker.work(0.002), worker.size

    result, times = clock.measure(call)
    assert result == ("done", 3)
    assert set(times.stage_wall) == set(times.stage_cpu) == {"features", "encoder"}
    assert times.stage_wall["encoder"] >= 4.0 and times.stage_wall["features"] >= 2.0
    assert times.wall >= sum(times.stage_wall.values())
    assert times.cpu >= sum(times.stage_cpu.values())


def test_a_new_measurement_starts_at_zero():
    clock = StageClock()
    _, first = clock.measure(lambda: clock.stage("encoder", time.sleep, 0.002))
    _, second = clock.measure(lambda: None)
    assert first.stage_wall and not second.stage_wall
