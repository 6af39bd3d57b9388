"""RNN-T loss (Graves, 2012), split in two differentiable steps.

1. :func:`target_log_probs`: of the whole softmax only two numbers per lattice cell
   matter, the log-probabilities of blank and of the next label (the two *planes*).
2. :func:`lattice_loss`: forward-backward over the planes.

The split is our choice: step 1 works on any slice of the lattice, so a large vocabulary
never has to be in memory at once (see :mod:`espnet2_supernet.asr.losses.transducer`).
On CPU both steps run in numba, the lattice in float64. On CUDA torchaudio does the
lattice, and both steps at once in :func:`rnnt_loss`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from espnet2_supernet.asr.losses.targets import check_targets, describe
from espnet2_supernet.errors import ConfigError, DataError


class _TargetLogProbs(torch.autograd.Function):
    """Planes (B, T, U+1, 2) of the logits, with one vocabulary-sized tensor in backward."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, t_lens: Tensor, u_lens: Tensor, blank: int
    ) -> Tensor:
        ctx.fast = logits.device.type == "cpu" and logits.dtype == torch.float32
        ctx.blank = blank
        if ctx.fast:
            from espnet2_supernet.asr.losses import rnnt_numba

            planes, norm = rnnt_numba.target_log_probs(logits, labels, t_lens, u_lens, blank)
        else:
            norm = logits.logsumexp(dim=-1)
            index = labels[:, None, :, None].expand(*logits.shape[:3], 1)
            label_plane = logits.gather(-1, index).squeeze(-1)
            planes = torch.stack((logits[..., blank], label_plane), dim=-1) - norm.unsqueeze(-1)
        ctx.save_for_backward(logits, labels, norm)
        return planes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, norm = ctx.saved_tensors
        if ctx.fast:
            from espnet2_supernet.asr.losses import rnnt_numba

            out = rnnt_numba.target_log_probs_backward(logits, labels, ctx.blank, norm, grads)
            return out, None, None, None, None
        total = grads.sum(dim=-1, keepdim=True)
        out = (logits - norm.unsqueeze(-1)).exp_().mul_(-total)
        # Padding may hold anything, NaN included; its gradient is zero by definition.
        out.masked_fill_(total == 0, 0.0)
        out[..., ctx.blank] += grads[..., 0]
        index = labels[:, None, :, None].expand(*logits.shape[:3], 1)
        out.scatter_add_(-1, index, grads[..., 1:])
        return out, None, None, None, None


class _NumbaLattice(torch.autograd.Function):
    """Losses (B,) of float64 planes on CPU; gradients are computed along with them."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, t_lens: Tensor, u_lens: Tensor) -> Tensor:
        from espnet2_supernet.asr.losses import rnnt_numba

        losses, grads = rnnt_numba.lattice(planes, t_lens, u_lens, ctx.needs_input_grad[0])
        ctx.save_for_backward(grads)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (grads,) = ctx.saved_tensors
        return grads * grad_output[:, None, None, None], None, None


def target_log_probs(
    logits: Tensor, labels: Tensor, t_lens: Tensor, u_lens: Tensor, blank_id: int = 0
) -> Tensor:
    """Log-probabilities of blank and of the next label in each cell of a lattice slice.

    Nothing is checked here; ``targets.check_targets`` prepares the arguments.

    Args:
        logits: Scores before softmax (B, T, U+1, V); half types are upcast to float32.
        labels: Next label of each state, int64 (B, U+1); any valid id where there is none.
        t_lens: Valid frames in this slice, int64 (B,), may be zero.
        u_lens: Labels of each utterance, int64 (B,).
        blank_id: Id of blank.

    Returns:
        Planes (B, T, U+1, 2): [..., 0] blank, [..., 1] label. float64 on CPU, else float32
        (float64 for float64 logits). Meaningless in the padding.
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    return _TargetLogProbs.apply(logits.contiguous(), labels, t_lens, u_lens, blank_id)


def lattice_loss(planes: Tensor, t_lens: Tensor, u_lens: Tensor) -> Tensor:
    """Negative log-likelihood summed over all alignments.

    Args:
        planes: Log-probabilities of blank and label (B, T, U+1, 2), padding ignored.
        t_lens: Frames of each utterance, int64 (B,), at least 1.
        u_lens: Labels of each utterance, int64 (B,).

    Returns:
        Loss of each utterance in nats (B,), float64 on CPU, float32 on CUDA.
    """
    if planes.device.type == "cpu":
        return _NumbaLattice.apply(planes.double(), t_lens, u_lens)
    # With a vocabulary of two and log-softmax already done, torchaudio's kernel is just
    # the lattice: blank is 0 and every label is 1.
    labels = torch.ones_like(u_lens)[:, None].expand(-1, planes.shape[2] - 1)
    return _torchaudio_loss(planes, labels, t_lens, u_lens, 0, fused_log_softmax=False)


def rnnt_loss(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    blank_id: int = 0,
    reduction: str = "none",
) -> Tensor:
    """RNN-T loss of a batch of logits.

    Args:
        logits: Scores before softmax (B, T, U+1, V); half types are upcast to float32.
            T and U may exceed the longest utterance; the padding gets zero gradient.
        targets: Label ids (B, U), without blank; the padding may hold anything.
        logit_lengths: Frames of each utterance (B,), 1 to T.
        target_lengths: Labels of each utterance (B,), 0 to U.
        blank_id: Id of blank.
        reduction: ``none``, ``sum`` or ``mean`` (over utterances).

    Returns:
        Loss in nats, (B,) for ``none``, else a scalar. A NaN logit gives a NaN loss.

    Raises:
        ConfigError: For an unknown reduction or a blank outside the vocabulary.
        DataError: For shapes, lengths or target ids that do not fit.
    """
    if reduction not in ("none", "sum", "mean"):
        raise ConfigError(f"reduction '{reduction}' is not one of none, sum, mean")
    if logits.dim() != 4 or not logits.is_floating_point():
        raise DataError(f"logits must be float (B, T, U+1, V), got {describe(logits)}")
    labels, t_lens, u_lens = check_targets(
        logits.shape, targets, logit_lengths, target_lengths, blank_id, logits.device
    )
    if logits.device.type == "cpu":
        planes = target_log_probs(logits, labels, t_lens, u_lens, blank_id)
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        losses = lattice_loss(planes, t_lens, u_lens).to(dtype)
    else:
        losses = _torchaudio_loss(logits, labels[:, :-1], t_lens, u_lens, blank_id)
    return losses if reduction == "none" else getattr(losses, reduction)()


def _torchaudio_loss(
    logits: Tensor,
    labels: Tensor,
    t_lens: Tensor,
    u_lens: Tensor,
    blank: int,
    fused_log_softmax: bool = True,
) -> Tensor:
    """Call torchaudio by its rules: exact slices, float32, int32, explicit blank."""
    from torchaudio.functional import rnnt_loss as kernel

    frames, longest = int(t_lens.max()), int(u_lens.max())
    return kernel(
        logits[:, :frames, : longest + 1].float().contiguous(),
        labels[:, :longest].int().contiguous(),
        t_lens.int(),
        u_lens.int(),
        blank=blank,
        reduction="none",
        fused_log_softmax=fused_log_softmax,
    )
