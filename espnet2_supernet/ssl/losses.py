"""The three terms of wav2vec 2.0: contrastive loss, diversity loss, feature penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from espnet2_supernet.ssl.plan import Plan
from espnet2_supernet.ssl.quantizer import Quantized
from espnet2_supernet.supernet.ranks import sum_over_ranks


def contrastive_loss(
    context: Tensor, targets: Tensor, code_ids: Tensor, plan: Plan, temperature: float
) -> tuple[Tensor, Tensor]:
    """Tell the target of each masked frame from its negatives (equation 3 of the paper).

    Logits are cosine similarities over the temperature. A negative with the same codes as the
    positive is no negative and is left out. A frame left with none contributes zero to both
    results. All pairs of an utterance are compared by one matrix product and the drawn ones picked
    out: that takes a K-th of the memory of gathering the negatives' vectors.

    Args:
        context: Projected encoder outputs at the masked frames ``(N, F)``.
        targets: Projected quantised targets ``(N, F)``.
        code_ids: One integer for each combination of codes ``(N,)``.
        plan: Where the frames are and what their negatives are.
        temperature: ``logit_temp``, kappa in the paper.

    Returns:
        Mean loss over the N frames, 0 if there are none, and the fraction of frames whose target
        has the largest logit, without gradient; scalars.
    """
    with torch.autocast(context.device.type, enabled=False):
        queries = functional.normalize(context.float(), dim=-1, eps=1e-8)
        keys = functional.normalize(targets.float(), dim=-1, eps=1e-8)
        pairs = torch.bmm(plan.pad(queries), plan.pad(keys).transpose(1, 2)) / temperature
        pairs = pairs[plan.rows, plan.columns]  # (N, max count)
        positive = pairs.gather(1, plan.columns[:, None])
        same = plan.pad(code_ids)[plan.rows].gather(1, plan.negatives) == code_ids[:, None]
        negative = pairs.gather(1, plan.negatives).masked_fill(same, float("-inf"))
        logits = torch.cat([positive, negative], dim=1)
        size = max(len(plan.rows), 1)
        loss = -logits.log_softmax(dim=1)[:, 0].sum() / size
        best = logits.detach()[:, 1:].amax(dim=1)
        correct = (positive.detach()[:, 0] > best) & ~same.all(dim=1)
        return loss, correct.sum() / size


@dataclass(frozen=True)
class BatchTerms:
    """What depends on the whole batch, over all ranks.

    Attributes:
        diversity: ``(G V - sum over codebooks of exp(entropy)) / (G V)``, 0 when all entries are
            equally probable.
        penalty: Mean square of the features.
        code_perplexity: ``exp(entropy)`` of the chosen codes of each codebook ``(G,)``.
        prob_perplexity: The same of the mean probabilities ``(G,)``.
    """

    diversity: Tensor
    penalty: Tensor
    code_perplexity: Tensor
    prob_perplexity: Tensor

    @classmethod
    def compute(cls, quantized: Quantized, features: Tensor) -> BatchTerms:
        """Compute them from the masked frames' codes and all frames but padding.

        The diversity is no mean over frames, so it cannot be averaged over ranks: the sums are
        added up before. With one process nothing is communicated.

        Args:
            quantized: Of the masked frames.
            features: Frames without padding ``(M, D)``.
        """
        groups, entries = quantized.probs.shape[1:]
        chosen = functional.one_hot(quantized.codes, entries).sum(dim=0)
        squares = features.float().square()
        sizes = (len(quantized.codes), features.numel())
        sums = torch.cat(
            [
                quantized.probs.sum(dim=0).flatten(),
                chosen.flatten().float(),
                squares.sum()[None],
                torch.tensor(sizes, dtype=torch.float32, device=squares.device),
            ]
        )
        sums = sum_over_ranks(sums)
        size = sums[-2].clamp(min=1)
        shape = (2, groups, entries)
        probs, codes = (sums[:-3] / size).view(shape)
        perplexity = _perplexity(probs)
        diversity = (groups * entries - perplexity.sum()) / (groups * entries)
        penalty = sums[-3] / sums[-1].clamp(min=1)
        return cls(diversity, penalty, _perplexity(codes).detach(), perplexity.detach())


def _perplexity(probs: Tensor) -> Tensor:
    """exp(entropy) of distributions ``(G, V)``: between 1 and V."""
    return torch.exp(-(probs * (probs + 1e-7).log()).sum(dim=-1))
