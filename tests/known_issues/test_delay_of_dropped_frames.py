"""The delay of a full-context row that drops frames counted kept frames, not those of the audio."""

from types import SimpleNamespace

import numpy as np
import torch

from espnet2_supernet.measure.clock import StageClock
from espnet2_supernet.measure.torch_engines import TorchEngine
from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis


def test_the_search_knows_which_frames_are_left():
    model = SimpleNamespace(
        extract_features=lambda speech, lengths: (speech, lengths),
        encode_with_times=lambda *_: (torch.zeros(1, 2, 4), None, torch.tensor([[0, 3]])),
    )
    recogniser = SimpleNamespace(
        asr_model=model,
        subnet="server",
        context=None,
        search_frames=lambda frames, times: [SearchHypothesis((5, 6), tuple(times), 0.0)],
    )
    stream = TorchEngine(recogniser, SimpleNamespace(is_full=True)).open(StageClock())
    stream.accept(np.ones(8, np.float32))
    stream.finish()
    assert (stream.tokens(), stream.frames()) == ([5, 6], [0, 3])
