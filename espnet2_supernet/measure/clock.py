"""Wall and CPU time of the stages of a recogniser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

STAGES = ("features", "encoder", "decoder")


@dataclass
class Times:
    """Time that one piece of audio took, in ms; a stage that was not entered is missing.

    Attributes:
        wall: From start to end, by the wall clock.
        cpu: The same in CPU time of this process, all its threads together.
        stage_wall: Wall time by stage; what is left of ``wall`` is glue between the stages.
        stage_cpu: CPU time by stage.
    """

    wall: float = 0.0
    cpu: float = 0.0
    stage_wall: dict[str, float] = field(default_factory=dict)
    stage_cpu: dict[str, float] = field(default_factory=dict)


class StageClock:
    """Times calls, and the stages inside them.

    CPU time stands beside wall time because a foreign process on the same core adds to the wall
    clock only.

    Example:
        >>> clock = StageClock()
        >>> result, times = clock.measure(lambda: clock.stage("encoder", sum, [1, 2]))
        >>> result, list(times.stage_wall)
        (3, ['encoder'])
    """

    def __init__(self) -> None:
        self._times = Times()

    def measure(self, call: Callable[[], Any]) -> tuple[Any, Times]:
        """Run a call.

        Args:
            call: What to time; it may use :meth:`stage`.

        Returns:
            Its result, and its times.
        """
        self._times = times = Times()
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        result = call()
        times.cpu = (time.process_time_ns() - cpu) / 1e6
        times.wall = (time.perf_counter_ns() - wall) / 1e6
        return result, times

    def stage(self, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a call as part of a stage.

        Args:
            name: One of :data:`STAGES`.
            call: What to run.
            *args: Its arguments.
            **options: Its options.

        Returns:
            What it returns.
        """
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        result = call(*args, **options)
        spent = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
        for total, ns in zip((self._times.stage_cpu, self._times.stage_wall), spent, strict=True):
            total[name] = total.get(name, 0.0) + ns / 1e6
        return result


class Timed:
    """Stands in for an object and times some of its methods as a stage.

    Args:
        target: The object.
        clock: The clock.
        stage: Name of the stage.
        methods: Methods to time; everything else goes straight to the object.
    """

    def __init__(self, target: Any, clock: StageClock, stage: str, methods: tuple[str, ...]):
        self._target, self._clock, self._stage, self._methods = target, clock, stage, methods

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the object, timed where asked for."""
        value = getattr(self._target, name)
        if name not in self._methods:
            return value
        return lambda *args, **options: self._clock.stage(self._stage, value, *args, **options)
