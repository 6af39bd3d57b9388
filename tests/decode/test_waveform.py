"""Recognition from the waveform: training, both modes, streamed against masked."""

import pytest
import torch

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetWav2Vec2Encoder
from espnet2_supernet.features.waveform_conv import WaveformConvFrontend

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "D", "<space>", "<sos/eos>"]
LAYERS = [[6, 10, 5], *[[6, 3, 2]] * 4, *[[6, 2, 2]] * 2]
KINDS = {
    "group": {"norm": "group"},
    "layer": {"norm": "layer", "conv_bias": True},
    "layer_input": {"norm": "layer", "conv_bias": True, "normalize_input": True},
}
ENCODERS = {
    "wav2vec2": lambda: SupernetWav2Vec2Encoder(6, 16, 2, 32, 2, conv_pos=8, conv_pos_groups=4),
    "conformer": lambda: SupernetConformerEncoder(
        6, 16, 2, 32, num_blocks=1, cnn_module_kernel=3, subsampling="none"
    ),
}
SUBNETS = {
    "server": {"context": "full"},
    "device": {
        "context": {"chunk_size": [8, 4], "left_context": 8, "right_context": 2},
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
    },
}

TABLE = {"subnets": SUBNETS, "schedule": {"kind": "one_shot", "begin": 0}}


def make(kind="group", encoder="wav2vec2", specaug=None):
    from espnet2.asr.ctc import CTC

    from espnet2_supernet.asr.model import SupernetASRModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    frontend = WaveformConvFrontend(conv_feature_layers=LAYERS, **KINDS[kind])
    model = SupernetASRModel(
        len(TOKENS), TOKENS, frontend, specaug, None, None, ENCODERS[encoder](), None, None,
        CTC(len(TOKENS), 16), None, TABLE, 1.0, None,
    )  # fmt: skip
    with torch.no_grad():
        model.ctc.ctc_lo.weight.mul_(6.0)
        model.pruner.step_once()
    return model.eval()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_streamed_equals_masked(kind, encoder, speech):
    wav = speech(1.3)
    speech2text = Speech2Text.from_model(make(kind, encoder), "device")
    masked, [(text, _, ids, hypothesis)] = speech2text.encode(wav), speech2text(wav)
    for size in (160, 3_333, 30_000):
        frames = []
        session = speech2text.stream(frames.append)
        for start in range(0, len(wav), size):
            session.accept(wav[start : start + size])
        result = session.finish()
        torch.testing.assert_close(torch.cat(frames), masked, atol=1e-4, rtol=0)
        assert (result.token_int, result.frames, result.text) == (ids, hypothesis.frames, text)
    assert len(ids) > 3


def test_frames_last_twenty_milliseconds(speech):
    speech2text = Speech2Text.from_model(make(), "device")
    assert (speech2text.frame_ms, speech2text.lookahead_ms) == (20.0, 5.0)
    latency = speech2text.context.algorithmic_latency_ms(20.0, 5.0)
    assert latency == (8 + 2) * 20 + 5
    # what the latency says: nothing later is heard in the first chunk
    wav = speech(1.0)
    changed = wav.copy()
    changed[int(latency * 16) :] += 0.3
    before, after = speech2text.encode(wav), speech2text.encode(changed)
    torch.testing.assert_close(before[:8], after[:8])
    assert (before[8:] - after[8:]).abs().max() > 1e-3


def test_the_server_hears_the_whole_utterance(speech):
    model, wav = make(), torch.from_numpy(speech(1.0))
    lengths = torch.tensor([len(wav)])
    expected = model.frontend(wav[None], lengths)
    with torch.no_grad():
        found, _ = model.encode(wav[None], lengths)
        with model.supernet.active_subnet("server"):
            out, _, _ = model.encoder(*expected)
    torch.testing.assert_close(found, out)
    torch.testing.assert_close(Speech2Text.from_model(model, "server").encode(wav), out[0])


@pytest.mark.parametrize("kind", ["group", "layer"])
def test_training_steps(kind, speech):
    from espnet2.asr.specaug.specaug import SpecAug

    specaug = SpecAug(
        apply_time_warp=False, apply_freq_mask=False, time_mask_width_ratio_range=[0.0, 0.1]
    )
    model, losses = make(kind, specaug=specaug).train(), []
    wavs = [torch.from_numpy(speech(seconds, seed)) for seed, seconds in enumerate((0.8, 0.6))]
    data = {
        "speech": torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True),
        "speech_lengths": torch.tensor([len(wav) for wav in wavs]),
        "text": torch.tensor([[2, 3, 4], [4, 2, 0]]),
        "text_lengths": torch.tensor([3, 2]),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(15):
        loss, stats, _ = model(**data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0] and stats["loss_server"] != stats["loss_device"]
    assert all(p.grad is not None for p in model.frontend.parameters())
