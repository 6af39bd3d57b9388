"""``ctc_conf`` was read by ESPnet's CTC module, whose loss we do not call: it did nothing."""

import pytest
import torch
from espnet2.asr.ctc import CTC

from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.encoder import SupernetTransformerEncoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend

torch.set_num_threads(1)

TOKENS = ["<blank>", "<unk>", "A", "<sos/eos>"]


def model(**ctc_conf) -> SupernetASRModel:
    torch.manual_seed(0)
    encoder = SupernetTransformerEncoder(20, 16, 2, 16, num_blocks=1, dropout_rate=0.0)
    parts = dict.fromkeys(
        ["specaug", "normalize", "preencoder", "postencoder", "decoder", "joint_network"]
    )
    frontend, ctc = LogMelFrontend(n_mels=20), CTC(len(TOKENS), 16, **ctc_conf)
    return SupernetASRModel(
        len(TOKENS), TOKENS, frontend=frontend, encoder=encoder, ctc=ctc, **parts
    )


def loss(network: SupernetASRModel) -> float:
    torch.manual_seed(1)
    speech, length = torch.randn(1, 4000), torch.tensor([4000])
    return network(speech, length, torch.tensor([[2]]), torch.tensor([1]))[0].item()


def test_dropout_before_the_ctc_head_acts_in_training_only():
    plain, dropping = model(), model(dropout_rate=0.9)
    dropping.load_state_dict(plain.state_dict())
    assert loss(plain) != loss(dropping)
    assert loss(plain.eval()) == loss(dropping.eval())


@pytest.mark.parametrize(
    "conf", [{"reduce": False}, {"zero_infinity": False}, {"ctc_type": "builtin2"}]
)
def test_another_ctc_loss_than_ours_is_refused(conf):
    with pytest.raises(ConfigError, match="ctc_conf"):
        model(**conf)
