"""A validation set of utterances shorter than a span was told to have collapsed."""

import pytest

from espnet2_supernet.ssl.collapse import collapse_warnings

STATS = {"code_perplexity_0": 1.0, "loss_server": 0.0}


def test_without_masked_frames_nothing_has_collapsed():
    (message,) = collapse_warnings(STATS | {"masked": 0.0}, ["server"], 320)
    assert "no frame of the validation set was masked" in message


@pytest.mark.parametrize("more", [{"masked": 0.01}, {}])
def test_with_masked_frames_it_is_a_collapse(more):
    messages = collapse_warnings(STATS | more, ["server"], 320)
    assert len(messages) == 2 and "codebook 0 has collapsed" in messages[0]
