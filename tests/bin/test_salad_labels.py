"""The command that labels frames, on a trained tiny model."""

import kaldiio
import pytest
import torch

from espnet2_supernet.bin import salad_labels
from espnet2_supernet.damon.labels import read_info
from espnet2_supernet.data.audio import AudioRules, read_audio
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError, DataError

torch.set_num_threads(1)


@pytest.fixture
def command(trained, tiny_corpus, tmp_path):
    return [
        *("--asr_model_file", str(trained / "valid.loss.ave.pth")),
        *("--wav_scp", str(tiny_corpus.root / "valid" / "wav.scp")),
        *("--output_dir", str(tmp_path / "labels")),
    ]


def make_vocal(trained, tmp_path):
    """A copy of the experiment whose CTC head does not say blank everywhere."""
    states = torch.load(trained / "valid.loss.ave.pth", weights_only=True)
    states["ctc.ctc_lo.weight"] = 20 * torch.randn(
        states["ctc.ctc_lo.weight"].shape, generator=torch.Generator().manual_seed(0)
    )
    (tmp_path / "config.yaml").write_text((trained / "config.yaml").read_text())
    torch.save(states, tmp_path / "vocal.pth")
    return tmp_path / "vocal.pth"


@pytest.mark.parametrize("subnet", ["server", "device"])
def test_labels_are_the_greedy_path_of_the_subnet(command, trained, tiny_corpus, tmp_path, subnet):
    model = make_vocal(trained, tmp_path)
    command += ["--asr_model_file", str(model), "--subnet", subnet]
    salad_labels.main(command)
    found = kaldiio.load_scp(str(tmp_path / "labels" / "labels.scp"))
    speech2text = Speech2Text(tmp_path / "config.yaml", model, subnet=subnet)
    lines = (tiny_corpus.root / "valid" / "wav.scp").read_text().split("\n")
    for key, path in (line.split() for line in lines if line):
        encoded = speech2text.encode(read_audio(path, AudioRules(fs=16000)).samples)
        expected = speech2text.asr_model.ctc.ctc_lo(encoded).argmax(-1)
        assert found[key].tolist() == expected.tolist()
    info, told = read_info(tmp_path / "labels" / "labels.scp")
    assert info.subnet == subnet and info.tokens == tuple(speech2text.asr_model.token_list)
    assert info.frame_ms == 40.0 and told["utterances"] == 3


def test_an_untrained_head_is_refused(command, trained, tmp_path):
    states = torch.load(trained / "valid.loss.ave.pth", weights_only=True)
    states["ctc.ctc_lo.bias"][0] += 1000.0
    torch.save(states, tmp_path / "blank.pth")
    (tmp_path / "config.yaml").write_text((trained / "config.yaml").read_text())
    with pytest.raises(DataError, match="says blank in all .* frames of 3 utterances"):
        salad_labels.main([*command, "--asr_model_file", str(tmp_path / "blank.pth")])
    assert not (tmp_path / "labels" / "labels.json").exists()


def test_what_is_missing_is_named(command, tmp_path):
    with pytest.raises(ConfigError, match="--output_dir is missing"):
        salad_labels.main(command[:4])
    with pytest.raises(ConfigError, match="no subnet 'phone'"):
        salad_labels.main([*command, "--subnet", "phone"])
    (tmp_path / "keys").write_text("nobody\n")
    with pytest.raises(DataError, match="'nobody' is not in"):
        salad_labels.main([*command, "--key_file", str(tmp_path / "keys")])
    with pytest.raises(SystemExit):
        salad_labels.main([*command, "--beam_size", "3"])


def test_a_subnet_that_drops_frames_cannot_label(tiny_model):
    speech2text = Speech2Text.from_model(tiny_model(tokens="downsample"), "device", use="ctc")
    with pytest.raises(ConfigError, match="'device' drops frames"):
        salad_labels.check_teacher(speech2text)
    speech2text = Speech2Text.from_model(tiny_model(ctc_weight=0.0), "device")
    with pytest.raises(ConfigError, match="no CTC head"):
        salad_labels.check_teacher(speech2text)
