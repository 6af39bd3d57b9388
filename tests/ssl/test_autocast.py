"""Pre-training under bfloat16 autocast, as ``--use_amp true`` does it on a GPU that can."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.mark.parametrize("encoder", ["transformer", "conformer"])
@pytest.mark.parametrize("sequential", [False, True])
def test_losses_and_gradients_are_close_to_float32(encoder, sequential, make_model, batch):
    results = []
    for enabled in (False, True):
        model = make_model({"sequential_backward": sequential}, encoder, loss_weights=(0.1, 1.0))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, stats, _ = model(**batch())
        loss.backward()
        assert loss.dtype == torch.float32
        results.append((stats, {n: p.grad for n, p in model.named_parameters()}))
    (exact, grads), (rounded, rounded_grads) = results
    for key in ("loss_server", "loss_device", "loss_diversity"):
        assert float(rounded[key]) == pytest.approx(float(exact[key]), rel=0.03), key
    for name in grads:
        assert rounded_grads[name].isfinite().all(), name
    left, right = (torch.cat([one[n].flatten() for n in grads]) for one in (grads, rounded_grads))
    assert torch.cosine_similarity(left, right, dim=0) > 0.95
