"""The whole ``supernet_conf`` block, checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys, is_number
from espnet2_supernet.sparsity.schedule_spec import ScheduleSpec, parse_schedule
from espnet2_supernet.supernet.sampling import Sampling, parse_sampling
from espnet2_supernet.supernet.subnet import Subnet
from espnet2_supernet.supernet.table import DEFAULT_TABLE, parse_table, table_to_dict

_KEYS = (
    "subnets",
    "schedule",
    "loss_weights",
    "layer_norm",
    "distillation",
    "sampling",
    "sequential_backward",
)


@dataclass(frozen=True)
class Distillation:
    """In-place distillation (US-Nets, arXiv 1903.05134): one subnet teaches the others.

    Attributes:
        weight: Weight of the distillation loss, 0 = off.
        teacher: Name of the teaching subnet.
    """

    weight: float
    teacher: str


@dataclass(frozen=True)
class SupernetConfig:
    """What a supernet consists of and how its subnets are trained together.

    Attributes:
        subnets: The table, by name.
        schedule: When masks are estimated.
        loss_weights: Weight of every subnet's loss, by name, each above 0.
        layer_norm: ``shared`` or ``per_subnet``.
        distillation: In-place distillation.
        sampling: Which subnets are trained in which step.
        sequential_backward: Backward after each subnet, which saves memory.
    """

    subnets: dict[str, Subnet]
    schedule: ScheduleSpec
    loss_weights: dict[str, float]
    layer_norm: str
    distillation: Distillation
    sampling: Sampling
    sequential_backward: bool

    @classmethod
    def parse(cls, spec: Any, where: str = "supernet_conf") -> SupernetConfig:
        """Read the block.

        Args:
            spec: The YAML block; ``None`` or an empty one is one dense full-context subnet.
            where: Path of the block, for error messages.

        Raises:
            ConfigError: If a key is unknown or a value is wrong, naming its path.

        Example:
            >>> config = SupernetConfig.parse({})
            >>> list(config.subnets), config.loss_weights
            (['server'], {'server': 1.0})
            >>> SupernetConfig.parse({"subnet": {}})
            Traceback (most recent call last):
            ...
            espnet2_supernet.errors.ConfigError: supernet_conf: unknown key 'subnet'; did you \
mean 'subnets'?
        """
        if isinstance(spec, SupernetConfig):
            return spec
        spec = {} if spec is None else spec
        if not isinstance(spec, Mapping):
            raise ConfigError(f"{where}: write a block, got {spec!r}")
        check_keys(spec, _KEYS, where)
        given = {key: value for key, value in spec.items() if value is not None}
        subnets = parse_table(given.get("subnets", DEFAULT_TABLE), f"{where}.subnets")
        names = list(subnets)
        _check_choices(given, where)
        config = cls(
            subnets=subnets,
            schedule=parse_schedule(given.get("schedule"), f"{where}.schedule"),
            loss_weights=_loss_weights(given.get("loss_weights"), names, f"{where}.loss_weights"),
            layer_norm=given.get("layer_norm", "shared"),
            distillation=_distillation(given.get("distillation"), names, f"{where}.distillation"),
            sampling=parse_sampling(given.get("sampling"), names, f"{where}.sampling"),
            sequential_backward=given.get("sequential_backward", False),
        )
        _check_teacher(config, where)
        _check_readers(config, where)
        _check_heads(config, where)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return the block with every default written out; ``parse`` reads it back."""
        return {
            "subnets": table_to_dict(self.subnets),
            "schedule": self.schedule.to_dict(),
            "loss_weights": dict(self.loss_weights),
            "layer_norm": self.layer_norm,
            "distillation": asdict(self.distillation),
            "sampling": self.sampling.to_dict(),
            "sequential_backward": self.sequential_backward,
        }


def _check_choices(given: Mapping[str, Any], where: str) -> None:
    """Check the values that are no block of their own."""
    layer_norm = given.get("layer_norm", "shared")
    if layer_norm not in ("shared", "per_subnet"):
        raise ConfigError(f"{where}.layer_norm: write shared or per_subnet, got {layer_norm!r}")
    sequential = given.get("sequential_backward", False)
    if not isinstance(sequential, bool):
        raise ConfigError(f"{where}.sequential_backward: true or false, got {sequential!r}")


def _loss_weights(spec: Any, names: list[str], where: str) -> dict[str, float]:
    if spec is None:
        return dict.fromkeys(names, 1.0 / len(names))
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where}: write {{subnet: weight}}, got {spec!r}")
    check_keys(spec, names, where)
    for name in names:
        if name not in spec:
            raise ConfigError(f"{where}: the weight of subnet '{name}' is missing")
        if not is_number(spec[name]) or spec[name] <= 0:
            raise ConfigError(
                f"{where}.{name}: a weight above 0, got {spec[name]!r}; a subnet that is not "
                "trained does not belong in the table"
            )
    return {name: float(spec[name]) for name in names}


def _distillation(spec: Any, names: list[str], where: str) -> Distillation:
    spec = {} if spec is None else spec
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where}: write {{weight: 0.1, teacher: {names[0]}}}, got {spec!r}")
    check_keys(spec, ("weight", "teacher"), where)
    weight, teacher = spec.get("weight", 0.0), spec.get("teacher", names[0])
    if not is_number(weight) or weight < 0:
        raise ConfigError(f"{where}.weight: a number from 0, got {weight!r}")
    if teacher not in names:
        raise ConfigError(f"{where}.teacher: no subnet {teacher!r}; there are: {', '.join(names)}")
    return Distillation(float(weight), teacher)


def _check_teacher(config: SupernetConfig, where: str) -> None:
    teacher = config.distillation.teacher
    if config.distillation.weight > 0 and teacher not in config.sampling.always:
        raise ConfigError(
            f"{where}.distillation.teacher: '{teacher}' teaches in every step, so list it in "
            "sampling.always"
        )
    if config.distillation.weight > 0 and config.subnets[teacher].tokens is not None:
        raise ConfigError(
            f"{where}.distillation.teacher: '{teacher}' drops frames, and has nothing to tell of "
            "them: choose a teacher without tokens"
        )


def _check_readers(config: SupernetConfig, where: str) -> None:
    """Refuse a schedule that writes weights which a subnet without that mask reads."""
    masks = {subnet.mask_name for subnet in config.subnets.values()}
    if not config.schedule.writes_weights or len(masks) == 1:
        return
    schedule = config.schedule
    what, instead = f"growth: {schedule.growth}", "or write growth: kept"
    if schedule.adjust == "dense":
        what, instead = "adjust: dense", "or write adjust: masked"
    elif schedule.kind == "l0":
        what, instead = "kind: l0", "or choose another"
    elif schedule.rewind:
        what, instead = "rewind: true", "or leave out rewind"
    raise ConfigError(
        f"{where}.schedule: {what} changes weights that a mask prunes, and subnets without "
        f"this mask read them; give all subnets one mask, {instead}"
    )


def _check_heads(config: SupernetConfig, where: str) -> None:
    """Refuse output layers that nothing would train."""
    own = [name for name, subnet in config.subnets.items() if subnet.own_head]
    never_drawn = config.sampling.by_layerdrop
    first = next(iter(config.subnets))
    for name in own:
        if name == first:
            raise ConfigError(
                f"{where}.subnets.{name}.head: the first subnet has the shared head; give the "
                "others heads of their own"
            )
        if name in never_drawn:
            raise ConfigError(
                f"{where}.subnets.{name}.head: sampling.by_layerdrop never draws '{name}', so "
                "nothing would train a head of its own: write shared"
            )
    if own and not set(config.subnets) - {*own, *never_drawn}:
        raise ConfigError(
            f"{where}.subnets: no subnet that is drawn has the shared head, so nothing would "
            f"train it: take '{first}' out of sampling.by_layerdrop"
        )
