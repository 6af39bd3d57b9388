"""A small experiment folder: two subnets, two test sets, scored by the Python scorer."""

import json

import numpy as np
import pytest
import yaml

from espnet2_supernet.report.scoring import Transcripts, score_set
from espnet2_supernet.report.significance import Bootstrap

CONTEXTS = {"server": "full", "device": {"chunk_size": 16, "left_context": 64, "right_context": 0}}
SIZES = {
    "server": {"parameters": 1000, "nonzero": 1000, "prunable": 800, "prunable_nonzero": 800,
               "bytes_dense_fp32": 4000},
    "device": {"parameters": 1000, "nonzero": 440, "prunable": 800, "prunable_nonzero": 240,
               "bytes_dense_fp32": 4000},
}  # fmt: skip


def transcripts(seed, error_rate, utterances=30):
    """Same reference for the same seed; words replaced at the rate."""
    rng = np.random.default_rng(seed)
    words = [str(word) for word in "ONE TWO THREE FOUR FIVE SIX".split()]
    reference = {f"s{i % 4}-{i:03d}": " ".join(rng.choice(words, 8)) for i in range(utterances)}
    noise = np.random.default_rng(int(1000 * error_rate))
    hypothesis = {
        key: " ".join("NO" if noise.uniform() < error_rate else word for word in text.split())
        for key, text in reference.items()
    }
    return Transcripts(reference, hypothesis, {key: key[:2] for key in reference})


def make_experiment(expdir, rates=None, sets=("dev", "test")):
    """Write decode folders with scores, decode.yaml and subnets.json."""
    method = Bootstrap(resamples=200)
    for subnet, rate in (rates or {"server": 0.05, "device": 0.3}).items():
        for seed, name in enumerate(sets):
            folder = expdir / f"decode_{subnet}_greedy" / name
            for token_type in ("wer", "cer"):
                command = f"score {subnet} {name}"
                score_set(transcripts(seed, rate), folder / f"score_{token_type}", token_type,
                          None, method, command)  # fmt: skip
            decode = {"subnet": subnet, "context": CONTEXTS[subnet], "frame_ms": 40.0,
                      "lookahead_ms": 55.0, "search": "greedy"}  # fmt: skip
            (folder / "decode.yaml").write_text(yaml.safe_dump(decode))
    (expdir / "subnets.json").write_text(json.dumps(SIZES))
    return expdir


@pytest.fixture(scope="session")
def scored_once(tmp_path_factory):
    """The experiment, made once; do not change it."""
    return make_experiment(tmp_path_factory.mktemp("exp") / "asr_x")


@pytest.fixture
def expdir(scored_once, tmp_path):
    """A copy of the experiment that a test may change."""
    import shutil

    return shutil.copytree(scored_once, tmp_path / "asr_x")
