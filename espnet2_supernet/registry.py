"""Adds our classes to ESPnet's tables, so that stock ESPnet tools can build our models.

ESPnet has no plug-in mechanism: ``--encoder``, ``--frontend`` and ``--model`` are looked up in
module-level ``ClassChoices`` tables of ``espnet2.tasks.asr``.
"""

from __future__ import annotations

from espnet2_supernet import compat


def _entries() -> list[tuple[object, str, type]]:
    """Return (ESPnet table, name, class) of everything that is ours."""
    compat.quiet()
    from espnet2.tasks import asr

    from espnet2_supernet.asr.model import SupernetASRModel
    from espnet2_supernet.encoder import (
        SupernetConformerEncoder,
        SupernetTransformerEncoder,
        SupernetWav2Vec2Encoder,
    )
    from espnet2_supernet.encrl.model import SupernetEncRLModel
    from espnet2_supernet.features.log_mel import LogMelFrontend
    from espnet2_supernet.features.waveform_conv import WaveformConvFrontend

    return [
        (asr.encoder_choices, "supernet_transformer", SupernetTransformerEncoder),
        (asr.encoder_choices, "supernet_conformer", SupernetConformerEncoder),
        (asr.encoder_choices, "supernet_wav2vec2", SupernetWav2Vec2Encoder),
        (asr.frontend_choices, "log_mel", LogMelFrontend),
        (asr.frontend_choices, "waveform_conv", WaveformConvFrontend),
        (asr.model_choices, "supernet", SupernetASRModel),
        (asr.model_choices, "encrl", SupernetEncRLModel),
    ]


def register() -> None:
    """Register our encoders, front-ends and models with ESPnet's ASR task (idempotent).

    Raises:
        RuntimeError: If a name of ours is already taken by a foreign class.
        TypeError: If a class of ours lacks the base class that ESPnet's table demands.
    """
    entries = _entries()
    for choices, name, class_ in entries:
        add(choices, name, class_)


def add(choices: object, name: str, class_: type) -> None:
    """Add one class to one ESPnet ``ClassChoices`` table.

    ESPnet checks types only when a table is made; a later entry is checked here.

    Args:
        choices: ``ClassChoices`` with attributes ``name``, ``classes`` and ``base_type``.
        name: Lower-case option value.
        class_: Class to build.

    Raises:
        RuntimeError: If the name is taken by another class.
        TypeError: If the class lacks the base class of the table.
        ValueError: If the name is not lower-case (ESPnet could not find it again).
    """
    option = choices.name  # type: ignore[attr-defined]
    base = choices.base_type  # type: ignore[attr-defined]
    if name != name.lower():
        raise ValueError(f"--{option} {name}: ESPnet finds lower-case names only")
    if base is not None and not issubclass(class_, base):
        raise TypeError(f"--{option} {name}: {class_.__name__} must inherit {base.__name__}")
    present = choices.classes.setdefault(name, class_)  # type: ignore[attr-defined]
    if present is not class_:
        raise RuntimeError(
            f"--{option} {name} is already {present.__module__}.{present.__qualname__}; "
            "two plug-ins use the same name"
        )
