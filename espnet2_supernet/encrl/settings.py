"""What the student copies, and how it is weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys

MODEL_KEYS = ("losses", "outputs", "clip", "clean_teacher")  # of model_conf, a student's alone
LOSSES = ("mse", "clip", "mae", "kl", "asr")
PAPER_LOSSES = {"mse": 1.0, "clip": 1.0}  # equation 2
PAPER_SCALE = 1 / 0.07  # of the dot products, as the paper's code has it: fixed
_CLIP_KEYS = ("normalize", "scale", "learn_scale")


@dataclass(frozen=True)
class EncRLSettings:
    """Losses and their weights; the defaults are the paper's.

    Attributes:
        weights: Weight of ``mse``, ``clip``, ``mae``, ``kl`` (each between student and teacher)
            and ``asr`` (the recogniser's own loss, which needs text).
        outputs: What ``mse`` and ``mae`` compare: ``log_softmax`` (the paper's code) or
            ``logits`` (its text). ``kl`` always compares probabilities.
        normalize: CLIP compares directions, not vectors.
        scale: Factor of CLIP's dot products.
        learn_scale: Learn that factor, from ``scale`` on.
        clean_teacher: The teacher hears the features without SpecAugment.
    """

    weights: dict[str, float]
    outputs: str
    normalize: bool
    scale: float
    learn_scale: bool
    clean_teacher: bool

    @classmethod
    def parse(cls, losses: Any, outputs: Any, clip: Any, clean_teacher: Any) -> EncRLSettings:
        """Check the entries of ``model_conf``.

        Args:
            losses: ``{mse: 1.0, clip: 1.0}``; what is left out has weight 0.
            outputs: ``log_softmax`` or ``logits``.
            clip: ``{normalize: false, scale: 14.2857, learn_scale: false}``, or None.
            clean_teacher: True or false.

        Raises:
            ConfigError: Naming the key.

        Example:
            >>> EncRLSettings.parse({"mse": 1.0, "klip": 1.0}, "logits", None, False)
            Traceback (most recent call last):
            ...
            espnet2_supernet.errors.ConfigError: model_conf.losses: unknown key 'klip'; did you \
mean 'clip'?
        """
        weights = _weights(PAPER_LOSSES if losses is None else losses)
        if outputs not in ("log_softmax", "logits"):
            raise ConfigError(f"model_conf.outputs: write log_softmax or logits, got {outputs!r}")
        clip = {} if clip is None else clip
        if not isinstance(clip, Mapping):
            raise ConfigError(f"model_conf.clip: write {{normalize: false, ...}}, got {clip!r}")
        check_keys(clip, _CLIP_KEYS, "model_conf.clip")
        scale = _number(clip.get("scale", PAPER_SCALE), "model_conf.clip.scale")
        if scale == 0:
            raise ConfigError("model_conf.clip.scale: above 0")
        return cls(
            weights,
            outputs,
            _bool(clip.get("normalize", False), "model_conf.clip.normalize"),
            scale,
            _bool(clip.get("learn_scale", False), "model_conf.clip.learn_scale"),
            _bool(clean_teacher, "model_conf.clean_teacher"),
        )

    def has(self, loss: str) -> bool:
        """Return whether a loss has a weight."""
        return self.weights[loss] > 0


def _weights(losses: Any) -> dict[str, float]:
    if not isinstance(losses, Mapping):
        raise ConfigError(f"model_conf.losses: write {{mse: 1.0, clip: 1.0}}, got {losses!r}")
    check_keys(losses, LOSSES, "model_conf.losses")
    weights = dict.fromkeys(LOSSES, 0.0)
    for name, value in losses.items():
        weights[name] = _number(value, f"model_conf.losses.{name}")
    if not any(weights[name] for name in LOSSES if name != "asr"):
        raise ConfigError(
            "model_conf.losses: nothing is learnt from the teacher: give mse, clip, mae or kl a "
            "weight, or train with asr_train"
        )
    return weights


def _number(value: Any, where: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):
        raise ConfigError(f"{where}: a number from 0, got {value!r}")
    return float(value)


def _bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: true or false, got {value!r}")
    return value
