"""RNN-T loss from encoder and predictor outputs, in bounded memory.

Logits take B * T * (U+1) * V numbers: 10 GB in float32 for 16 utterances of 400 frames, 80
labels and 5000 tokens. Above a limit the lattice is cut into slices (groups of utterances
of similar length, then time). Of each slice only the two planes that the lattice needs are
kept, and its logits are recomputed in backward: one slice is alive at a time.

Source: our choice. Unlike splitting by utterance alone it bounds a single long utterance
too, and unlike pruned losses (Kuang et al., 2022) it is exact. It costs one more pass of
the joint network, so batches below the limit take the direct way. Backward holds a gradient of
a slice's size and the joint network's own activations besides. On CPU a limit of 16 million or
more is wise: glibc before 2.38 keeps freed blocks below 32 MiB in its heap and often cannot use
them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from espnet2_supernet.asr.losses.rnnt import lattice_loss, rnnt_loss, target_log_probs
from espnet2_supernet.asr.losses.targets import check_targets, describe
from espnet2_supernet.errors import ConfigError, DataError


def transducer_loss(
    joint_network: nn.Module,
    enc: Tensor,
    enc_lens: Tensor,
    pred: Tensor,
    targets: Tensor,
    target_lens: Tensor,
    blank_id: int = 0,
    max_lattice_cells: int | None = None,
) -> Tensor:
    """RNN-T loss of each utterance.

    Args:
        joint_network: Called as ``joint_network(enc (B, T, 1, D), pred (B, 1, U+1, D'))``,
            returns logits (B, T, U+1, V); each cell must depend on its own inputs only.
        enc: Encoder output (B, T, D).
        enc_lens: Frames of each utterance (B,).
        pred: Predictor output (B, U+1, D').
        targets: Label ids (B, U), without blank; the padding may hold anything.
        target_lens: Labels of each utterance (B,).
        blank_id: Id of blank.
        max_lattice_cells: Most logits, B * T * (U+1) * V, alive at once; ``None`` for no
            limit. The smallest unit is one frame of one utterance, (U+1) * V.

    Returns:
        Loss in nats (B,).

    Raises:
        ConfigError: If ``max_lattice_cells`` is not positive, or blank is no token.
        DataError: For shapes, lengths or target ids that do not fit.
    """
    _check_inputs(enc, pred, max_lattice_cells)
    # One cell tells V. Not under no_grad: autocast would cache weights cut off the graph.
    vocab = joint_network(enc[:1, :1].unsqueeze(2), pred[:1, :1].unsqueeze(1)).shape[-1]
    shape = (len(enc), enc.shape[1], pred.shape[1], vocab)
    labels, t_lens, u_lens = check_targets(
        shape, targets, enc_lens, target_lens, blank_id, enc.device
    )
    batch = _Batch(joint_network, enc, pred, labels, t_lens, u_lens, blank_id)
    frames, states = batch.longest()
    if max_lattice_cells is None or len(enc) * frames * states * vocab <= max_lattice_cells:
        logits = joint_network(enc[:, :frames].unsqueeze(2), pred[:, :states].unsqueeze(1))
        return rnnt_loss(logits, labels[:, : states - 1], t_lens, u_lens, blank_id)
    losses = _grouped_loss(batch, max_lattice_cells // vocab)
    return losses.to(torch.float64 if enc.dtype == torch.float64 else torch.float32)


@dataclass(frozen=True)
class _Batch:
    """Utterances with checked labels and lengths."""

    joint_network: nn.Module
    enc: Tensor  # (n, T, D)
    pred: Tensor  # (n, U+1, D')
    labels: Tensor  # (n, U)
    t_lens: Tensor  # (n,)
    u_lens: Tensor  # (n,)
    blank_id: int

    def longest(self) -> tuple[int, int]:
        """Largest T and U+1."""
        return int(self.t_lens.max()), int(self.u_lens.max()) + 1

    def select(self, rows: list[int]) -> _Batch:
        """Some of the utterances."""
        index = torch.tensor(rows, device=self.enc.device)
        tensors = (self.enc, self.pred, self.labels, self.t_lens, self.u_lens)
        enc, pred, labels, t_lens, u_lens = (one[index] for one in tensors)
        return _Batch(self.joint_network, enc, pred, labels, t_lens, u_lens, self.blank_id)


def _grouped_loss(batch: _Batch, limit: int) -> Tensor:
    """Loss (B,) from groups of at most ``limit`` lattice cells, the logits of one alive at once."""
    frames, states = batch.longest()
    groups = plan_groups(batch.t_lens.tolist(), batch.u_lens.tolist(), limit)
    planes = []
    for group in groups:
        one = _group_planes(batch.select(group), limit)
        planes.append(pad(one, (0, 0, 0, states - one.shape[2], 0, frames - one.shape[1])))
    order = torch.tensor([row for group in groups for row in group], device=batch.enc.device)
    return lattice_loss(torch.cat(planes)[order.argsort()], batch.t_lens, batch.u_lens)


def plan_groups(t_lens: list[int], u_lens: list[int], limit: int) -> list[list[int]]:
    """Group utterances so that a group's padded lattice has at most ``limit`` cells.

    Args:
        t_lens: Frames of each utterance.
        u_lens: Labels of each utterance.
        limit: Most cells, n * max(T) * max(U+1); an utterance above it stands alone.

    Returns:
        Indices of the utterances, longest first: neighbours are alike, so little is padding.
    """
    groups: list[list[int]] = []
    frames = states = 0
    for row in sorted(range(len(t_lens)), key=lambda b: (-t_lens[b], -u_lens[b])):
        states = max(states, u_lens[row] + 1)
        if groups and (len(groups[-1]) + 1) * frames * states <= limit:
            groups[-1].append(row)
        else:
            groups.append([row])
            frames, states = t_lens[row], u_lens[row] + 1
    return groups


def _group_planes(group: _Batch, limit: int) -> Tensor:
    """Planes (n, T, U+1, 2) of a group, its own longest T and U, one time slice at a time."""
    frames, states = group.longest()
    step = max(1, limit // (len(group.enc) * states))
    pred, labels = group.pred[:, None, :states], group.labels[:, :states].contiguous()

    def planes_of(enc_slice: Tensor, pred: Tensor, left: Tensor) -> Tensor:
        logits = group.joint_network(enc_slice.unsqueeze(2), pred)
        return target_log_probs(logits, labels, left, group.u_lens, group.blank_id)

    # split, not indexing: its backward joins the slices' gradients once, in linear time
    slices = []
    for i, piece in enumerate(group.enc[:, :frames].split(step, dim=1)):
        left = (group.t_lens - i * step).clamp(min=0)
        slices.append(checkpoint(planes_of, piece, pred, left, use_reentrant=False))
    return torch.cat(slices, dim=1)


def _check_inputs(enc: Tensor, pred: Tensor, max_lattice_cells: int | None) -> None:
    if max_lattice_cells is not None and max_lattice_cells < 1:
        raise ConfigError(f"max_lattice_cells must be positive or null, got {max_lattice_cells}")
    if enc.dim() != 3 or pred.dim() != 3 or len(enc) != len(pred) or 0 in enc.shape[:2]:
        raise DataError(
            "transducer_loss needs enc (B, T, D) and pred (B, U+1, D) of one batch, "
            f"got {describe(enc)} and {describe(pred)}"
        )
