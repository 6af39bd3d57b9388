"""Validation kept as many frames as the reference text needs; decoding does not have that text.

So did models without a CTC head, for which no path of it has to be left.
"""

import pytest
import torch

from tiny_models import make_model

LABELS = [2, 2, 3, 3, 4, 4, 2, 3, 4]  # with 3 repeats: CTC needs 12 frames


def batch(speech):
    return {
        "speech": torch.from_numpy(speech(0.5))[None].repeat(2, 1),
        "speech_lengths": torch.tensor([8000, 6400]),
        "text": torch.tensor([LABELS, LABELS]),
        "text_lengths": torch.tensor([9, 1]),
    }


@pytest.mark.parametrize("ctc_weight", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("training", [True, False])
def test_only_training_keeps_what_only_ctc_needs(training, ctc_weight, speech):
    model, data = (
        make_model(ctc_weight=ctc_weight, tokens="downsample").train(training),
        batch(speech),
    )
    loss, stats, _ = model(**data)
    assert all(bool(torch.as_tensor(value).isfinite().all()) for value in stats.values())
    decoded = model.eval().encode(data["speech"], data["speech_lengths"], "device")[1]
    frames = model.encode(data["speech"], data["speech_lengths"], "server")[1]
    assert frames.tolist() == [12, 9] and decoded.tolist() == [6, 5]
    wanted = [12, 5] if training and ctc_weight > 0 else [6, 5]
    assert float(stats["keep_ratio_device"]) == pytest.approx(sum(wanted) / 21)
    if ctc_weight > 0:  # an utterance that has no path counts zero
        assert 0 <= float(stats["loss_ctc_device"]) < 1e4
    assert loss.isfinite()


def test_one_frame_is_enough_for_both_losses(speech):
    """Nothing but the first frame of each utterance is kept."""
    model, data = make_model(tokens="energy"), batch(speech)
    data["speech"] = torch.zeros_like(data["speech"])  # silence
    loss, stats, _ = model(**data)
    assert float(stats["keep_ratio_device"]) == pytest.approx(2 / 21)
    assert loss.isfinite() and float(stats["loss_rnnt_device"]) > 0
    assert 0 <= float(stats["cer_device"]) <= 1.5
