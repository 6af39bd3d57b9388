"""LayerNorm that every subnet shares, or of which every subnet has its own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_PREFIX = "norm_"


class SubnetLayerNorm(nn.LayerNorm):
    """Layer normalisation whose scale and bias may differ per subnet.

    Activations of a sparse or a chunked subnet have other statistics than those of the dense
    one, so slimmable networks (arXiv 1812.08928) give every subnet private norms. Here the first
    subnet owns ``weight`` and ``bias`` and each further one a private copy (our choice: the keys
    are those of ``nn.LayerNorm``, and no parameter is left without a user).

    Args:
        dim: Size of the last axis.
        eps: Added to the variance.

    Attributes:
        active: Name of the subnet in use; ``None`` or an unknown name uses ``weight``, ``bias``.

    Example:
        >>> norm = SubnetLayerNorm(4)
        >>> norm.add_subnets(["server", "device"])
        >>> [key for key, _ in norm.named_parameters()]
        ['weight', 'bias', 'norm_device.weight', 'norm_device.bias']
    """

    active: str | None = None

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        """Start shared by all subnets."""
        super().__init__(dim, eps=eps)
        self.active = None

    def add_subnets(self, names: Iterable[str]) -> None:
        """Give every subnet but the first a private copy of scale and bias.

        Args:
            names: Subnet names, the owner of ``weight`` and ``bias`` first.
        """
        for name in list(names)[1:]:
            private = nn.LayerNorm(list(self.normalized_shape), eps=self.eps)
            private.load_state_dict({"weight": self.weight, "bias": self.bias})
            self.add_module(_PREFIX + name, private.to(self.weight))

    def private(self, name: str | None) -> nn.LayerNorm | None:
        """Return the private norm of a subnet, or ``None`` if it uses the shared one."""
        return self._modules.get(f"{_PREFIX}{name}")  # type: ignore[return-value]

    def unused_parameters(self) -> int:
        """Count the scales and biases that any one subnet does not use."""
        # Every norm, private or not, has one scale and one bias: the subnet uses one norm.
        return sum(p.numel() for p in self.parameters()) - 2 * self.weight.numel()

    @torch.no_grad()
    def fold(self, name: str) -> None:
        """Keep the norm of one subnet as ``weight`` and ``bias``, drop all private ones."""
        private = self.private(name)
        if private is not None:
            self.weight.copy_(private.weight)
            self.bias.copy_(private.bias)
        for key in [key for key in self._modules if key.startswith(_PREFIX)]:
            delattr(self, key)
        self.active = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis.

        Args:
            x: Input (..., dim).

        Returns:
            Normalised input (..., dim).
        """
        private = self.private(self.active)
        return super().forward(x) if private is None else private(x)
