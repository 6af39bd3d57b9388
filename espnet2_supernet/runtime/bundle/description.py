"""What a bundle says about itself: ``bundle.json``, checked key by key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription
from espnet2_supernet.runtime.bundle.keep_rule import KeepRule

FORMAT = "espnet2_supernet.bundle"
VERSION = 1
PRECISIONS = ("fp32", "int8")
LATER = ("key_size", "value_size")  # keys of ``encoder`` that the first bundles did not have
# The same of ``keep_rule``, and what the first bundles did
LATER_OF_RULE = {"before_block": 1, "restore_before_block": None, "restored": "unchanged"}

T = TypeVar("T")


@dataclass(frozen=True)
class Features:
    """Log-mel features.

    Attributes:
        fs: Sampling rate in Hz.
        n_mels: Mel bands F.
        n_fft: FFT size in samples.
        win_length: Window in samples.
        hop_length: Shift in samples.
        norm_means: Whether the mean of the training data is subtracted.
        norm_vars: Whether its deviation is divided by.
    """

    fs: int
    n_mels: int
    n_fft: int
    win_length: int
    hop_length: int
    norm_means: bool
    norm_vars: bool


@dataclass(frozen=True)
class Predictor:
    """Predictor of the RNN-T.

    Attributes:
        kind: ``rnn`` or ``stateless``.
        rnn_type: ``lstm`` or ``gru``; of a stateless one, empty.
        num_layers: Recurrent layers.
    """

    kind: str
    rnn_type: str = ""
    num_layers: int = 0


@dataclass(frozen=True)
class Tokens:
    """What the outputs mean.

    Attributes:
        token_list: V tokens, by id.
        token_type: ``char``, ``word``, ``bpe``, or None for no text.
        blank_id: Index of blank.
    """

    token_list: list[str]
    token_type: str | None
    blank_id: int


@dataclass(frozen=True)
class Source:
    """Where a bundle comes from.

    Attributes:
        subnet: Name of the subnet.
        trained: Whether it was trained in this context, and its mask to the end.
        contexts: Contexts that it was trained in, in words.
        pattern: Pattern of its mask, empty without.
        sparsity: Zeros among its prunable weights.
        config_sha256: Digest of ``config.yaml``.
        model_sha256: Digest of the weights.
        package_version: Version of this package that wrote the bundle.
    """

    subnet: str
    trained: bool
    contexts: list[str]
    pattern: str
    sparsity: float
    config_sha256: str
    model_sha256: str
    package_version: str


@dataclass(frozen=True)
class Description:
    """All that a bundle says about itself.

    Attributes:
        precision: Of the matrices, ``fp32`` or ``int8``.
        features: Features.
        subsampling: ``conv2d`` or ``stack``.
        encoder: Sizes of the blocks and the context, in encoder frames.
        ctc: Whether there is a CTC head.
        predictor: Predictor of the RNN-T; None without RNN-T.
        tokens: What the outputs mean.
        source: Where it comes from.
        keep_rule: Which frames the blocks see; None = all.
    """

    precision: str
    features: Features
    subsampling: str
    encoder: EncoderDescription
    ctc: bool
    predictor: Predictor | None
    tokens: Tokens
    source: Source
    keep_rule: KeepRule | None = None

    @classmethod
    def from_dict(cls, content: Any, where: str) -> Description:
        """Read a description.

        Args:
            content: Parsed ``bundle.json``.
            where: Its path, for error messages.

        Raises:
            CheckpointError: If it is of another format or version, or a key is unknown, missing
                or of the wrong type.
        """
        check_format(content, where)
        block = {key: value for key, value in content.items() if key not in ("format", "version")}
        found = _read(cls, block, where)
        _check_choice(found.precision, PRECISIONS, f"{where}: precision")
        _check_choice(found.subsampling, ("conv2d", "stack"), f"{where}: subsampling")
        if found.predictor is not None:
            _check_choice(found.predictor.kind, ("rnn", "stateless"), f"{where}: predictor.kind")
            cells = ("lstm", "gru") if found.predictor.kind == "rnn" else ("",)
            _check_choice(found.predictor.rnn_type, cells, f"{where}: predictor.rnn_type")
        rule, blocks = found.keep_rule, found.encoder.num_blocks
        for key in ("before_block", "restore_before_block") if rule is not None else ():
            if (getattr(rule, key) or 1) > blocks:
                raise CheckpointError(f"{where}: keep_rule.{key}: wanted one of {blocks} blocks")
        if not found.ctc and found.predictor is None:
            raise CheckpointError(f"{where}: neither a CTC head nor an RNN-T")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``bundle.json``.

        What came later is there only where it says something: older programs read all other
        bundles, and refuse these for their unknown keys.
        """
        content = asdict(self)
        for block, key in ((content, "keep_rule"), *((content["encoder"], k) for k in LATER)):
            if block[key] is None:
                del block[key]
        for key, plain in LATER_OF_RULE.items() if self.keep_rule is not None else ():
            if content["keep_rule"][key] == plain:
                del content["keep_rule"][key]
        return {"format": FORMAT, "version": VERSION, **content}

    def frame_ms(self, factor: int) -> float:
        """Duration of an encoder frame in ms.

        Args:
            factor: Features of one frame.
        """
        return 1000.0 * factor * self.features.hop_length / self.features.fs


def check_format(content: Any, where: str) -> None:
    """Refuse what is no bundle, or one of another version.

    Raises:
        CheckpointError: Saying which version is there and which one is read.
    """
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise CheckpointError(f"{where}: not the description of a bundle")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{where}: bundle version {content.get('version')!r}, this program reads {VERSION}; "
            "write the bundle anew with the program that is to read it"
        )


def _check_choice(value: str, choices: tuple[str, ...], where: str) -> None:
    if value not in choices:
        raise CheckpointError(f"{where}: '{value}' is not one of {', '.join(map(repr, choices))}")


def _read(cls: type[T], block: Any, where: str) -> T:
    """Build a dataclass of a block whose keys and types must be right."""
    if not isinstance(block, Mapping):
        raise CheckpointError(f"{where}: a block of keys is expected")
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    optional = {name for name, field in known.items() if field.default is not MISSING}
    unknown = sorted(set(block) - set(known))
    missing = sorted(set(known) - set(block) - optional)
    if unknown or missing:
        raise CheckpointError(f"{where}: unknown keys {unknown}, missing keys {missing}")
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in block.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    """Check one value against its type hint."""
    if typing.get_origin(kind) is types.UnionType:
        if value is None:
            return None
        kinds = [one for one in typing.get_args(kind) if one is not type(None)]
        lists = [one for one in kinds if typing.get_origin(one) is list]
        kind = lists[0] if lists and isinstance(value, list) else kinds[0]
    if is_dataclass(kind):
        return _read(kind, value, where)  # type: ignore[arg-type]
    if typing.get_origin(kind) is list:
        [item] = typing.get_args(kind)
        if not isinstance(value, list) or not all(isinstance(one, item) for one in value):
            raise CheckpointError(f"{where}: wanted a list of {item.__name__}")
        return value
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise CheckpointError(f"{where}: wanted {kind.__name__}, got {value!r}")
    return value
