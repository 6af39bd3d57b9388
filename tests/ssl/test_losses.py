"""The losses against loops over frames, and against Hugging Face's where it is installed."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from espnet2_supernet.ssl.losses import BatchTerms, contrastive_loss
from espnet2_supernet.ssl.plan import Plan
from espnet2_supernet.ssl.quantizer import GumbelQuantizer, Quantized
from espnet2_supernet.ssl.seeds import utterance_seeds
from espnet2_supernet.ssl.spans import SpanMasking

torch.set_num_threads(1)


def make_plan(lengths, k=6):
    ids = [f"utt{i}" for i in range(len(lengths))]
    return Plan.draw(SpanMasking(0.65, 4, 1), k, lengths, utterance_seeds(0, 0, ids))


def make_case(lengths=(30, 12, 3), k=6, codes=4):
    torch.manual_seed(0)
    plan = make_plan(list(lengths), k)
    n = len(plan.rows)
    code_ids = torch.randint(codes, (n,))
    targets = torch.randn(codes, 8)[code_ids]
    return torch.randn(n, 8, requires_grad=True), targets.requires_grad_(), code_ids, plan


def by_definition(context, targets, code_ids, plan, temperature):
    losses, correct, start = [], 0, 0
    for count in plan.counts:
        for n in range(start, start + count):
            others = [start + int(m) for m in plan.negatives[n]]
            others = [m for m in others if code_ids[m] != code_ids[n]]
            sims = [cosine_similarity(context[n], targets[m], dim=0) for m in [n, *others]]
            logits = torch.stack(sims) / temperature
            losses.append(-logits.log_softmax(0)[0])
            correct += int(bool(others) and bool((logits[0] > logits[1:]).all()))
        start += count
    return torch.stack(losses).mean(), correct / len(losses)


def test_the_contrastive_loss_is_its_definition():
    case = make_case()
    loss, accuracy = contrastive_loss(*case, 0.1)
    expected, correct = by_definition(*case, 0.1)
    torch.testing.assert_close(loss, expected)
    assert float(accuracy) == pytest.approx(correct) and 0 < correct < 1
    grads = torch.autograd.grad(loss, case[:2])
    for found, wanted in zip(grads, torch.autograd.grad(expected, case[:2]), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


def test_a_frame_whose_negatives_all_collide_counts_zero():
    context, targets, _, plan = make_case()
    loss, accuracy = contrastive_loss(context, targets, torch.zeros(len(plan.rows)), plan, 0.1)
    assert loss == 0 and accuracy == 0, "a collapsed codebook is not an accurate one"
    assert torch.autograd.grad(loss, context)[0].abs().max() == 0


def test_one_masked_frame_and_none():
    torch.manual_seed(0)
    single = Plan.draw(SpanMasking(0.5, 1, 1), 4, [2], utterance_seeds(0, 0, ["a"]))
    assert single.counts == [1]
    one = torch.randn(1, 8, requires_grad=True)
    loss, _ = contrastive_loss(one, one, torch.tensor([3]), single, 0.1)
    assert loss == 0
    empty = make_plan([3, 2])
    none = torch.randn(0, 8, requires_grad=True)
    loss, accuracy = contrastive_loss(none, none, torch.zeros(0), empty, 0.1)
    loss.backward()
    assert loss == 0 and accuracy == 0 and none.grad.shape == (0, 8)


def test_another_utterance_changes_nothing():
    context, targets, codes, plan = make_case((30,))
    alone, _ = contrastive_loss(context, targets, codes, plan, 0.1)
    both = make_plan([30, 25])
    n, more = len(codes), len(both.rows) - len(codes)
    # the second utterance has one code only, so that it adds nothing of its own
    context, targets = (torch.cat([x, torch.randn(more, 8)]) for x in (context, targets))
    loss, _ = contrastive_loss(
        context, targets, torch.cat([codes, codes.new_zeros(more)]), both, 0.1
    )
    torch.testing.assert_close(loss * (n + more), alone * n)


def quantized(probs, codes):
    return Quantized(torch.zeros(len(codes), 1), torch.tensor(codes), torch.tensor(probs))


def test_diversity_is_zero_for_equal_use_and_largest_for_one_code():
    even = quantized([[[0.9, 0.1]], [[0.1, 0.9]]], [[0], [1]])
    terms = BatchTerms.compute(even, torch.ones(3, 2))
    assert terms.diversity == pytest.approx(0, abs=1e-6)
    assert terms.code_perplexity == pytest.approx([2.0], abs=1e-5)
    one = quantized([[[1.0, 0.0]], [[1.0, 0.0]]], [[0], [0]])
    terms = BatchTerms.compute(one, torch.full((3, 2), 2.0))
    assert terms.diversity == pytest.approx(0.5, abs=1e-5)
    assert terms.prob_perplexity == pytest.approx([1.0], abs=1e-5)
    assert terms.penalty == 4


def test_the_diversity_gradient_spreads_the_codes():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(4, latent_vars=8, latent_groups=2, latent_dim=4)
    frames = torch.randn(50, 4)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)
    told = []
    for _ in range(20):
        terms = BatchTerms.compute(quantizer(frames), frames)
        told.append(float(terms.prob_perplexity.sum()))
        optimizer.zero_grad()
        terms.diversity.backward()
        optimizer.step()
    assert told[-1] > told[0] + 1


def test_terms_of_an_empty_batch_are_finite():
    quantizer = GumbelQuantizer(4, latent_vars=3, latent_groups=2, latent_dim=4)
    features = torch.zeros(0, 4, requires_grad=True)
    terms = BatchTerms.compute(quantizer(features), features)
    (terms.diversity + terms.penalty).backward()
    assert terms.diversity.isfinite() and terms.penalty == 0


def test_hugging_face_agrees():
    """Same weights, masks and negatives: contrastive and diversity loss of wav2vec 2.0."""
    modeling = pytest.importorskip("transformers.models.wav2vec2.modeling_wav2vec2")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    options = {"num_codevectors_per_group": 10, "num_codevector_groups": 2, "codevector_dim": 8}
    config = transformers.Wav2Vec2Config(conv_dim=(6,) * 7, contrastive_logits_temperature=0.1,
                                         **options)  # fmt: skip
    theirs = modeling.Wav2Vec2GumbelVectorQuantizer(config).eval()
    torch.nn.init.uniform_(theirs.codevectors)  # left uninitialised outside of a whole model
    ours = GumbelQuantizer(6, latent_vars=10, latent_groups=2, latent_dim=8)
    ours.weight_proj.load_state_dict(theirs.weight_proj.state_dict())
    ours.codebooks.data.copy_(theirs.codevectors.data.view(2, 10, 4))
    plan = make_plan([40, 40], k=9)
    frames, context = torch.randn(2, 40, 6), torch.randn(len(plan.rows), 8)
    vectors, _ = theirs(frames, mask_time_indices=plan.mask)
    found = ours(frames[plan.mask])
    torch.testing.assert_close(found.vectors, vectors[plan.mask])
    negatives = torch.stack([plan.pad(found.vectors)[row][own] for row, own in
                             zip(plan.rows, plan.negatives, strict=True)])  # fmt: skip
    logits = modeling.Wav2Vec2ForPreTraining.compute_contrastive_logits(
        found.vectors[None], negatives.transpose(0, 1), context, 0.1
    )
    same = (negatives == found.vectors[:, None]).all(-1).T
    logits[1:][same] = float("-inf")
    expected = torch.nn.functional.cross_entropy(logits.T, torch.zeros(len(context)).long())
    ids = ours.code_ids(found.codes)
    loss, _ = contrastive_loss(context, found.vectors, ids, plan, 0.1)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    theirs.train()
    _, perplexity = theirs(frames, mask_time_indices=plan.mask)  # of probabilities, in training
    terms = BatchTerms.compute(found, frames[plan.mask])
    torch.testing.assert_close(terms.prob_perplexity.sum(), perplexity, atol=1e-4, rtol=1e-5)
