import pytest

import espnet2_supernet
from espnet2_supernet import registry


def test_registering_twice_is_the_same_as_once():
    from espnet2.tasks import asr

    espnet2_supernet.register()
    before = dict(asr.encoder_choices.classes)
    espnet2_supernet.register()
    assert asr.encoder_choices.classes == before
    assert {"supernet_conformer", "supernet_transformer"} <= before.keys()
    assert "log_mel" in asr.frontend_choices.classes
    assert "supernet" in asr.model_choices.classes


def test_a_foreign_class_is_not_shadowed():
    from espnet2.asr.encoder.abs_encoder import AbsEncoder
    from espnet2.train.class_choices import ClassChoices

    class Ours(AbsEncoder):
        pass

    class Foreign(AbsEncoder):
        pass

    choices = ClassChoices("encoder", {"taken": Foreign}, type_check=AbsEncoder)
    with pytest.raises(RuntimeError, match="--encoder taken is already .*Foreign"):
        registry.add(choices, "taken", Ours)
    with pytest.raises(TypeError, match="must inherit AbsEncoder"):
        registry.add(choices, "new", int)
    with pytest.raises(ValueError, match="lower-case"):
        registry.add(choices, "New", Ours)
    registry.add(choices, "new", Ours)
    assert choices.get_class("new") is Ours


def test_stock_espnet_decodes_our_full_context_model(trained):
    import numpy as np
    from espnet2.bin.asr_inference import Speech2Text

    espnet2_supernet.register()
    speech2text = Speech2Text(
        asr_train_config=str(trained / "config.yaml"),
        asr_model_file=str(trained / "valid.loss.ave.pth"),
        ctc_weight=1.0,
        lm_weight=0.0,
        beam_size=2,
        maxlenratio=-5,
    )
    speech = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    text, tokens, ints, _ = speech2text(speech)[0]
    assert len(tokens) == len(ints) and (text is None or isinstance(text, str))
    assert set(ints) <= set(range(7))
