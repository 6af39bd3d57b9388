"""Which subnets, in which contexts, take part in a training step."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.subnet import Subnet

Draw = tuple[Subnet, Context, float]


@dataclass(frozen=True)
class Sampling:
    """The rule of the draw.

    ``always`` the largest and the smallest with ``extra: 1`` of those between is the sandwich
    rule of US-Nets (arXiv 1903.05134).

    Attributes:
        seed: Seed of the draws.
        always: Subnets trained in every step.
        extra: How many of the other subnets are drawn besides.
        by_layerdrop: Subnets never drawn: they differ from one that is by their depth, and
            training leaves layers out at random anyway.
    """

    seed: int
    always: tuple[str, ...]
    extra: int
    by_layerdrop: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what :func:`parse_sampling` reads back."""
        spec = {"seed": self.seed, "always": list(self.always), "extra": self.extra}
        return spec | ({"by_layerdrop": list(self.by_layerdrop)} if self.by_layerdrop else {})

    def draw(
        self, subnets: Mapping[str, Subnet], loss_weights: Mapping[str, float], step: int
    ) -> list[Draw]:
        """Draw the subnets of one step, each with one of its contexts.

        The draw depends on the seed and the step only: it is the same on every rank, on every
        machine and after resuming, without any state (after once-for-all, which seeds by the
        step too). The weight of a drawn subnet grows by how rarely it is drawn, others / extra:
        so the expected loss is the weighted sum over all subnets, whatever is sampled (our
        choice).

        Args:
            subnets: The table, by name.
            loss_weights: Weight of every subnet, by name.
            step: Number of the training step.

        Returns:
            (subnet, context, loss weight) of every subnet drawn, in the order of the table.
        """
        # Seeding with text goes through SHA-512, so it does not depend on the platform.
        generator = random.Random(f"{self.seed}-{step}")
        others = [name for name in subnets if name not in (*self.always, *self.by_layerdrop)]
        drawn = set(generator.sample(others, self.extra)) | set(self.always)
        rarity = len(others) / self.extra if self.extra else 1.0
        return [
            (
                subnet,
                generator.choice(subnet.contexts),
                loss_weights[name] * (1.0 if name in self.always else rarity),
            )
            for name, subnet in subnets.items()
            if name in drawn
        ]


def parse_sampling(spec: Any, names: Sequence[str], where: str = "sampling") -> Sampling:
    """Read ``{seed: 0, always: [server, device], extra: 1}``; by default all are trained.

    Args:
        spec: The YAML block, or ``None``.
        names: Names in the table.
        where: Path of the block, for error messages.

    Raises:
        ConfigError: If a key or a value is wrong, or a subnet would never be trained.
    """
    spec = {} if spec is None else spec
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where}: write {{seed: 0, always: [...], extra: 1}}, got {spec!r}")
    check_keys(spec, ("seed", "always", "extra", "by_layerdrop"), where)
    implied = _names(spec.get("by_layerdrop") or [], names, f"{where}.by_layerdrop")
    rest = [name for name in names if name not in implied]
    always = spec.get("always")
    always = _names(rest if always is None else always, names, f"{where}.always")
    if not rest or set(always) & set(implied):
        raise ConfigError(f"{where}.by_layerdrop: some subnet must be trained, and none twice")
    sampling = Sampling(
        seed=_whole(spec.get("seed", 0), f"{where}.seed"),
        always=always,
        extra=_whole(spec.get("extra", 0), f"{where}.extra"),
        by_layerdrop=implied,
    )
    others = [name for name in rest if name not in sampling.always]
    if sampling.extra > len(others):
        raise ConfigError(
            f"{where}.extra: {sampling.extra} wanted, {len(others)} subnets are not in always"
        )
    if others and not sampling.extra:
        raise ConfigError(f"{where}: {', '.join(others)} would never be trained; set extra to 1")
    return sampling


def _names(given: Any, names: Sequence[str], where: str) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)):
        raise ConfigError(f"{where}: a list of subnet names, got {given!r}")
    for name in given:
        if name not in names:
            raise ConfigError(f"{where}: no subnet {name!r}; there are: {', '.join(names)}")
    return tuple(name for name in names if name in given)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{where}: a whole number from 0, got {value!r}")
    return value
