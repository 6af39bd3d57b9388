"""The table of subnets from its YAML form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.supernet.context import parse_contexts
from espnet2_supernet.supernet.depth import parse_depth
from espnet2_supernet.supernet.subnet import Subnet, check_decidable
from espnet2_supernet.supernet.tokens import TokenSpec

DEFAULT_TABLE = {"server": {"context": "full"}}


def parse_table(spec: Any, where: str) -> dict[str, Subnet]:
    """Read the rows of the table; the first row is the default subnet, so their order counts.

    Args:
        spec: ``{name: {context: ..., mask: ..., depth: ..., tokens: ..., head: ...}}``; a mask is
            a block of its own or the name of the subnet whose mask is shared, a head is
            ``shared`` or ``own``.
        where: Path of the block, for error messages.

    Raises:
        ConfigError: If a name, a key or a value is wrong.

    Example:
        >>> table = parse_table({"server": None, "device": {"context": {"chunk_size": 16}}}, "t")
        >>> [(name, row.context.describe(frame_ms=40)) for name, row in table.items()]
        [('server', 'full context'), ('device', 'chunk 640 ms, left 0 ms, right 0 ms')]
    """
    if not isinstance(spec, Mapping) or not spec:
        raise ConfigError(f"{where}: name at least one subnet, such as server: {{context: full}}")
    rows = {name: _check_row(name, row, where) for name, row in spec.items()}
    own = {
        name: MaskSpec.parse(row["mask"], f"{where}.{name}.mask")
        for name, row in rows.items()
        if isinstance(row.get("mask"), Mapping)
    }
    return {name: _subnet(name, row, own, f"{where}.{name}") for name, row in rows.items()}


def table_to_dict(subnets: Mapping[str, Subnet]) -> dict[str, Any]:
    """Return what :func:`parse_table` reads back to an equal table."""
    return {name: _row_to_dict(subnet) for name, subnet in subnets.items()}


def _check_row(name: Any, row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(name, str) or not name.isidentifier():
        # Names become buffer names, statistics and folders.
        raise ConfigError(f"{where}: subnet name {name!r}: use letters, digits and _ only")
    if row is None:
        return {}
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where}.{name}: write a block {{context: ..., mask: ...}}: {row!r}")
    check_keys(row, ("context", "mask", "depth", "tokens", "head"), f"{where}.{name}")
    return row


def _subnet(name: str, row: Mapping[str, Any], own: Mapping[str, MaskSpec], where: str) -> Subnet:
    context = row.get("context")
    contexts = parse_contexts("full" if context is None else context, f"{where}.context")
    depth = parse_depth(row.get("depth"), f"{where}.depth")
    tokens = None
    if row.get("tokens") is not None:
        tokens = TokenSpec.parse(row["tokens"], f"{where}.tokens")
        check_decidable(where, tokens, contexts)
    own_head = _owns_head(row.get("head"), f"{where}.head")
    mask = row.get("mask")
    if mask is None:
        return Subnet(name, contexts, depth=depth, tokens=tokens, own_head=own_head)
    owner = name if isinstance(mask, Mapping) else mask
    if not isinstance(owner, str) or owner not in own:
        raise ConfigError(
            f"{where}.mask: {owner!r} is no subnet with a mask of its own; there are: "
            f"{', '.join(own) or 'none'}"
        )
    return Subnet(name, contexts, own[owner], owner, depth, tokens, own_head)


def _owns_head(spec: Any, where: str) -> bool:
    if spec not in (None, "shared", "own"):
        raise ConfigError(f"{where}: write shared or own, got {spec!r}")
    return bool(spec == "own")


def _row_to_dict(subnet: Subnet) -> dict[str, Any]:
    contexts: list[Any] = [context.to_dict() for context in subnet.contexts]
    row: dict[str, Any] = {"context": contexts[0] if len(contexts) == 1 else contexts}
    if subnet.mask is not None:
        own = subnet.mask_name == subnet.name
        row["mask"] = subnet.mask.to_dict() if own else subnet.mask_name
    if subnet.depth is not None:
        row["depth"] = subnet.depth.to_spec()
    if subnet.tokens is not None:
        row["tokens"] = subnet.tokens.to_dict()
    if subnet.own_head:
        row["head"] = "own"
    return row
