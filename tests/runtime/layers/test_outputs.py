"""Output layers of the runtime against those of ESPnet."""

import numpy as np
import pytest
import torch
from espnet2.asr.ctc import CTC
from espnet2.asr_transducer.decoder.rnn_decoder import RNNDecoder
from espnet2.asr_transducer.decoder.stateless_decoder import StatelessDecoder
from espnet2.asr_transducer.joint_network import JointNetwork

from espnet2_supernet.decode import predictor as theirs
from espnet2_supernet.runtime.layers import outputs
from espnet2_supernet.runtime.layers.outputs import (
    CTCHead,
    RNNPredictor,
    StatelessPredictor,
    TransducerHead,
)
from espnet2_supernet.runtime.search.rnnt import GreedyRNNT
from espnet2_supernet.runtime.search.rnnt_beam import BeamRNNT

VOCAB, DIM = 9, 6


def numpy_weights(module, prefix):
    return {f"{prefix}.{key}": value.detach().numpy() for key, value in module.state_dict().items()}


def heads(kind, num_layers=2):
    torch.manual_seed(0)
    if kind == "stateless":
        decoder = StatelessDecoder(VOCAB, embed_size=5)
    else:
        decoder = RNNDecoder(VOCAB, 5, 4, rnn_type=kind, num_layers=num_layers)
    joint = JointNetwork(VOCAB, DIM, decoder.output_size, 7)
    with torch.no_grad():
        joint.lin_out.weight.mul_(5.0)
    weights = numpy_weights(decoder, "predictor") | numpy_weights(joint, "joint_network")
    ours = StatelessPredictor(weights)
    if kind != "stateless":
        ours = RNNPredictor(weights, kind, num_layers)
    return theirs.TransducerHead(decoder.eval(), joint.eval()), TransducerHead(ours, weights, 0)


def test_ctc_equals_that_of_espnet():
    torch.manual_seed(0)
    ctc, frames = CTC(VOCAB, DIM), 5 * torch.randn(4, DIM)
    found = CTCHead(numpy_weights(ctc, "ctc"))(frames.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found, ctc.log_softmax(frames[None])[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru", "stateless"])
@pytest.mark.parametrize("table", [True, False])
def test_steps_of_many_histories_equal_those_of_espnet(kind, table, monkeypatch):
    if not table:
        monkeypatch.setattr(outputs, "MAX_TABLE_BYTES", 0)
    expected, found = heads(kind)
    histories = [(3, 1, 4), (2, 2, 2), (8, 7, 5)]
    both = []
    for head in (expected, found):
        output, state = head.start()
        states = [state] * 3
        for tokens in zip(*histories, strict=True):
            output, states = head.step(list(tokens), states)
        frames = torch.linspace(-2, 2, 3 * DIM).view(3, DIM)
        enc = head.project(frames.numpy() if head is found else frames)
        both.append(head.log_probs(enc, output))
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru", "stateless"])
@pytest.mark.parametrize("search", [GreedyRNNT, BeamRNNT])
def test_both_heads_drive_the_same_search(kind, search):
    expected, found = heads(kind)
    frames = 2.0 * torch.randn(60, DIM, generator=torch.Generator().manual_seed(1))
    best = []
    for head, given in ((expected, frames), (found, frames.numpy())):
        one = search(head)
        state = one.init_state()
        one.advance(state, given)
        best.append(one.nbest(state)[0])
    assert best[0].tokens == best[1].tokens and best[0].frames == best[1].frames
    assert best[0].tokens and best[0].score == pytest.approx(best[1].score, abs=1e-3)
