"""LayerNorm that every subnet shares, or of which every subnet has its own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_PREFIX = "norm_"
_MASK_PREFIX = "mask_"


class SubnetLayerNorm(nn.LayerNorm):
    """Layer normalisation whose scale and bias may differ per subnet.

    Activations of a sparse or a chunked subnet have other statistics than those of the dense
    one, so slimmable networks (arXiv 1812.08928) give every subnet private norms. Here the first
    subnet owns ``weight`` and ``bias`` and each further one a private copy (our choice: the keys
    are those of ``nn.LayerNorm``, and no parameter is left without a user).

    A mask says which entries exist for a subnet: the others do not count in mean and variance.
    So the norm of a masked layer equals that of a layer from which they were cut out.

    Args:
        dim: Size of the last axis.
        eps: Added to the variance.
        precedes_head: It is what an output layer reads: a subnet with an output layer of its own
            has this norm of its own, too (our choice).

    Attributes:
        active: Name of the subnet in use; ``None`` or an unknown name uses ``weight``, ``bias``.
        active_mask: Name of the mask in use, or ``None`` for all entries.
        relaxed_masks: Masks that are not applied in training.

    Example:
        >>> norm = SubnetLayerNorm(4)
        >>> norm.add_subnets(["server", "device"])
        >>> [key for key, _ in norm.named_parameters()]
        ['weight', 'bias', 'norm_device.weight', 'norm_device.bias']
    """

    active: str | None = None
    active_mask: str | None = None

    def __init__(self, dim: int, eps: float = 1e-5, precedes_head: bool = False) -> None:
        """Start shared by all subnets."""
        super().__init__(dim, eps=eps)
        self.precedes_head = precedes_head
        self.active = None
        self.relaxed_masks: set[str] = set()

    def add_subnets(self, names: Iterable[str]) -> None:
        """Give every subnet but the first a private copy of scale and bias.

        Args:
            names: Subnet names, the owner of ``weight`` and ``bias`` first.
        """
        for name in list(names)[1:]:
            private = nn.LayerNorm(list(self.normalized_shape), eps=self.eps)
            private.load_state_dict({"weight": self.weight, "bias": self.bias})
            self.add_module(_PREFIX + name, private.to(self.weight))

    def add_mask(self, name: str) -> None:
        """Add a mask that keeps every entry, bool (dim,)."""
        ones = torch.ones_like(self.weight, dtype=torch.bool)
        self.register_buffer(_MASK_PREFIX + name, ones)

    def has_mask(self, name: str | None) -> bool:
        """Whether there is a mask of that name."""
        return f"{_MASK_PREFIX}{name}" in self._buffers

    def mask(self, name: str) -> torch.Tensor:
        """Return a mask by name, bool (dim,), 1 = the entry exists."""
        return self.get_buffer(_MASK_PREFIX + name)

    def private(self, name: str | None) -> nn.LayerNorm | None:
        """Return the private norm of a subnet, or ``None`` if it uses the shared one."""
        return self._modules.get(f"{_PREFIX}{name}")  # type: ignore[return-value]

    def unused_parameters(self) -> int:
        """Count the scales and biases that any one subnet does not use."""
        # Every norm, private or not, has one scale and one bias: the subnet uses one norm.
        return sum(p.numel() for p in self.parameters()) - 2 * self.weight.numel()

    @torch.no_grad()
    def fold(self, name: str) -> None:
        """Keep the norm of one subnet as ``weight`` and ``bias``; drop private ones and masks."""
        private = self.private(name)
        if private is not None:
            self.weight.copy_(private.weight)
            self.bias.copy_(private.bias)
        for key in [key for key in self._modules if key.startswith(_PREFIX)]:
            delattr(self, key)
        for key in [key for key in self._buffers if key.startswith(_MASK_PREFIX)]:
            delattr(self, key)
        self.active = self.active_mask = None
        self.relaxed_masks = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis.

        Args:
            x: Input (..., dim).

        Returns:
            Normalised input (..., dim); what a mask prunes has no meaning there.
        """
        private = self.private(self.active)
        relaxed = self.training and self.active_mask in self.relaxed_masks
        if self.active_mask is not None and not relaxed:
            norm = self if private is None else private
            return _masked_norm(x, self.mask(self.active_mask), norm)
        return super().forward(x) if private is None else private(x)


def _masked_norm(x: torch.Tensor, mask: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    # No list of kept entries: making one would wait for a GPU in every call.
    share = mask.float() / mask.sum()
    wide = x.float()
    centred = wide - (wide * share).sum(-1, keepdim=True)
    variance = (centred.square() * share).sum(-1, keepdim=True)
    normalised = centred * (variance + norm.eps).rsqrt()
    return (normalised * norm.weight + norm.bias).to(x.dtype)
