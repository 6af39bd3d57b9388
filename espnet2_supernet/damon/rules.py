"""The token-keep rules: SALAD's detector and the baselines that it has to beat."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.damon.detector import SaladDetector, log_odds
from espnet2_supernet.damon.keep_rule import KeepRule, RuleState
from espnet2_supernet.encoder.layouts import counted_block
from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.depth import LayerStack
from espnet2_supernet.supernet.subnet import Subnet
from espnet2_supernet.supernet.tokens import TokenSpec

GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, lie evenly wherever one stops


class Salad(KeepRule):
    """Keeps what the detector calls salient.

    Args:
        spec: Its declaration; without a threshold, that of the detector.
        detector: The detector; its weights are the model's.
    """

    def __init__(self, spec: TokenSpec, detector: SaladDetector) -> None:
        super().__init__(spec)
        self.detector = detector

    @property
    def threshold(self) -> float:
        """Log-odds from which a frame is kept."""
        given = self.spec.threshold
        return log_odds(float(self.detector.threshold) if given is None else given)

    def init_state(self, batch_size: int) -> RuleState:
        """Return the state before the first frame."""
        return RuleState(detector=self.detector.init_state(batch_size))

    def check_trained(self) -> None:
        """Refuse a detector that was not trained.

        Raises:
            ConfigError: If it was not.
        """
        if self.detector.threshold.isnan():
            raise ConfigError(
                "tokens of kind salad: the detector is not trained; train it with salad_train, "
                "choose its threshold with salad_threshold, and start with --init_param "
                ".../detector.pth"
            )

    def scores(self, frames: Tensor, feats: Tensor, state: RuleState) -> tuple[Tensor, Any]:
        """Log-odds of the detector ``(B, n)``.

        Raises:
            ConfigError: If the detector was not trained.
        """
        self.check_trained()
        return self.detector(frames, state.detector)


class Energy(KeepRule):
    """Keeps loud frames: the mean over the features that a frame was made of.

    With log-mel features and ``global_mvn`` that is how many standard deviations the bands lie
    above their means; a simple voice activity detector.
    """

    def scores(self, frames: Tensor, feats: Tensor, state: RuleState) -> tuple[Tensor, Any]:
        """Mean of the features of each frame ``(B, n)``."""
        return feats.unflatten(1, (frames.size(1), -1)).mean((2, 3)), None


class Random(KeepRule):
    """Keeps frames by chance: a draw depends on seed and place only, the same in every pass."""

    @property
    def threshold(self) -> float:
        """Draws from here on are kept."""
        assert self.spec.keep_ratio is not None
        return 1.0 - self.spec.keep_ratio

    def scores(self, frames: Tensor, feats: Tensor, state: RuleState) -> tuple[Tensor, Any]:
        """Draws in [0, 1) ``(B, n)``, the same for all B."""
        steps = torch.arange(frames.size(1), device=frames.device) + state.num_past
        return _hashed(steps, self.spec.seed).to(frames.dtype).repeat(len(frames), 1), None


class Downsample(KeepRule):
    """Keeps one frame of ``factor``, the first; the scores of the others spread evenly."""

    threshold = 1.0

    def scores(self, frames: Tensor, feats: Tensor, state: RuleState) -> tuple[Tensor, Any]:
        """1 for a kept frame, below 1/2 for another ``(B, n)``."""
        steps = torch.arange(frames.size(1), device=frames.device) + state.num_past
        rest = 0.5 * (steps.double() * GOLDEN).frac()
        scores = torch.where(steps % self.spec.factor == 0, 1.0, rest)
        return scores.to(frames.dtype).repeat(len(frames), 1), None


def _hashed(steps: Tensor, seed: int) -> Tensor:
    """Whole numbers to numbers in [0, 1) that look random (splitmix, its constants in 31 bits)."""
    x = (steps + 1) * 1_640_531_527 + (seed + 1) * 1_013_904_223
    for shift, factor in ((16, 73_244_475), (15, 739_982_445)):
        x = ((x ^ (x >> shift)) * factor) & 0x7FFFFFFF
    return (x ^ (x >> 16)).double() / 2.0**31


def make_rules(
    config: SupernetConfig, size: int, knows_times: bool, detector: dict[str, Any] | None
) -> tuple[dict[str, KeepRule], SaladDetector | None]:
    """Make the rules of a table.

    Args:
        config: The table.
        size: Dimension D of the frames.
        knows_times: Whether the encoder can have original positions.
        detector: Sizes of the detector, see :class:`SaladDetector`; the defaults when None.

    Returns:
        Rules by subnet, of those that drop frames, and the detector, if one of them has it.

    Raises:
        ConfigError: If positions or a detector are wanted that nothing can use.
    """
    specs = {s.name: s.tokens for s in config.subnets.values() if s.tokens is not None}
    for name, spec in specs.items():
        if not knows_times and spec.kind != "none":
            _check_convolved(name, spec)
    check_keys(detector or {}, ("channels", "kernel_size", "num_layers"), "model_conf.detector")
    made = None
    if any(spec.kind == "salad" for spec in specs.values()):
        made = SaladDetector(size, **(detector or {})).requires_grad_(False)
    elif detector is not None:
        raise ConfigError("model_conf.detector: no subnet has tokens of kind salad")
    kinds: dict[str, Any] = {"energy": Energy, "random": Random, "downsample": Downsample}
    rules = {
        name: Salad(spec, made) if made and spec.kind == "salad" else kinds[spec.kind](spec)
        for name, spec in specs.items()
        if spec.kind != "none"
    }
    return rules, made


def warn_of_moving_frames(model: Any) -> None:
    """Log a warning if a detector, which does not learn, reads frames that training changes.

    Args:
        model: What will be trained, with frozen parameters already marked.
    """
    rules: Mapping[str, KeepRule] = getattr(model, "rules", {})
    subnets = [name for name, rule in rules.items() if isinstance(rule, Salad)]
    if not subnets:
        return
    parts = {"frontend": model.frontend, "encoder.subsampling": model.encoder.subsampling}
    moving = [
        name
        for name, part in parts.items()
        if part is not None and any(p.requires_grad for p in part.parameters())
    ]
    if moving:
        logging.warning(
            f"subnet '{subnets[0]}' drops frames by a detector that was trained on the frames of "
            f"{' and '.join(moving)}, which this training changes: write "
            f"freeze_param: [{', '.join(moving)}]"
        )


def _check_convolved(name: str, spec: TokenSpec) -> None:
    """Refuse positions that a convolution over the frames before the first block cannot have.

    Raises:
        ConfigError: If they are wanted.
    """
    from_start = spec.before_block == 1 and spec.restore_before_block is None
    seen, has = ("kept", "compacted") if from_start else ("before block 1", "original")
    if spec.positions != has:
        raise ConfigError(
            f"supernet_conf.subnets.{name}.tokens.positions: this encoder takes positions from "
            f"a convolution over the frames {seen}; write positions: {has}"
        )


def check_blocks(
    rules: Mapping[str, KeepRule], subnets: Mapping[str, Subnet], blocks: LayerStack
) -> None:
    """Check that subnets run the blocks before which they drop frames.

    Args:
        rules: Result of :func:`make_rules`.
        subnets: The table.
        blocks: Those of the encoder.

    Raises:
        ConfigError: If one runs fewer, or pruning changes which ones it runs.
    """
    for name, rule in rules.items():
        where, subnet = f"supernet_conf.subnets.{name}.", subnets[name]
        numbers = {"before_block": rule.before_block}
        if rule.restore_before_block is not None:
            numbers["restore_before_block"] = rule.restore_before_block
        key, last = list(numbers.items())[-1]
        if last > 1 and blocks.has_mask(subnet.mask_name):
            raise ConfigError(
                f"{where}tokens.{key}: the subnet's mask prunes layers, so that their "
                "numbers change; leave it out, or prune other kinds"
            )
        try:
            counted_block(blocks.chosen(subnet.depth), last, key)
        except ConfigError as error:
            raise ConfigError(f"{where}{error}") from None
