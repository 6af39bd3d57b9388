"""CTC heads: one for all subnets, or of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from espnet2.asr.ctc import CTC
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig

OWN_HEADS = "ctc_heads."  # what their tensors' names begin with in a recogniser
_PREFIX = "head_"
_OWN_NORMS = "encoder.norm.norm_"


class CTCHeads(nn.Module):
    """CTC heads of the subnets that have one of their own.

    Early-Exit Conformers (Wright et al., arXiv 2309.09546) have one linear layer for each exit. A
    subnet with ``head: own`` has such a layer, and the encoder's final norm before it of its own.
    Both start as copies of the shared ones (our choice), so that models with and without them
    start from the same weights.

    Args:
        config: The table of subnets.
        ctc: The shared head, which the first subnet has.
        is_alone: Whether CTC is the only loss.

    Raises:
        ConfigError: If a subnet wants a head of its own and there is an RNN-T.
    """

    def __init__(self, config: SupernetConfig, ctc: CTC | None, is_alone: bool) -> None:
        super().__init__()
        own = [name for name, subnet in config.subnets.items() if subnet.own_head]
        if own and (ctc is None or not is_alone):
            raise ConfigError(
                f"supernet_conf.subnets.{own[0]}.head: heads of their own are CTC heads, the joint "
                "network of an RNN-T is shared: write shared, or set model_conf.ctc_weight to 1"
            )
        for name in own:
            self.add_module(_PREFIX + name, copy.deepcopy(ctc))

    def own(self, name: str) -> CTC | None:
        """Return the head of a subnet that has one of its own, else None."""
        head = self._modules.get(_PREFIX + name)
        assert head is None or isinstance(head, CTC)
        return head

    def unused_parameters(self) -> int:
        """Parameters that a subnet does not use: all heads but one, which are of one size."""
        return sum(p.numel() for p in self.parameters())


def shared_key(key: str) -> str | None:
    """Name the shared tensor in whose place a subnet has one of its own.

    Args:
        key: Name of a tensor of a recogniser.

    Returns:
        Name of the shared one; None if the tensor belongs to no head of its own.

    Example:
        >>> shared_key("ctc_heads.head_half.ctc_lo.bias"), shared_key("encoder.norm.norm_half.bias")
        ('ctc.ctc_lo.bias', 'encoder.norm.bias')
    """
    if key.startswith(OWN_HEADS):
        return f"ctc.{key.split('.', 2)[2]}"
    if key.startswith(_OWN_NORMS):
        return f"encoder.norm.{key.rsplit('.', 1)[1]}"
    return None


def with_own_heads(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], set[str]]:
    """Fit the heads of a state dict to those of another model.

    Args:
        given: State dict of a trained model.
        own: State dict of the model that starts from it.

    Returns:
        The given tensors, without heads of subnets that the new model does not have, with copies
        of the shared one for subnets that only the new model has; and the names of these copies.
    """
    states = {k: v for k, v in given.items() if k in own or shared_key(k) is None}
    copies = {}
    for key in own.keys() - states.keys():
        shared = shared_key(key)
        if shared is not None and shared in states:
            copies[key] = states[shared]
    return {**states, **copies}, set(copies)
