"""A recogniser whose tokens and times are known, and a tiny real one."""

from dataclasses import dataclass, field

import pytest

from espnet2_supernet.measure.engines import EngineInfo


@dataclass
class FakeEngine:
    """Shows one token per chunk and writes down who was called when."""

    info: EngineInfo
    calls: list = field(default_factory=list)
    lengths: list = field(default_factory=list)

    def open(self, clock):
        self.calls.append(self.info.label)
        return FakeStream(self)

    def text(self, tokens):
        return " ".join(map(str, tokens))

    def keep_ratio(self, waveforms):
        return None


class FakeStream:
    def __init__(self, engine):
        self.engine, self.heard = engine, 0

    def accept(self, samples):
        self.engine.lengths.append(len(samples))
        self.heard += len(samples)

    def finish(self):
        pass

    def tokens(self):
        first, further = self.engine.info.piece_lengths()
        return list(range(1, 2 + (self.heard - first) // further)) if self.heard >= first else []

    def frames(self):
        return [16 * i + 15 for i in range(len(self.tokens()))]


def make_info(label="row", **changes):
    values = {
        "label": label, "subnet": "device", "engine": "torch", "precision": "fp32",
        "chunk_size": 16, "left_context": 32, "right_context": 0, "frame_ms": 40.0,
        "lookahead_ms": 15.0, "fs": 16000, "search": "greedy", "beam_size": 1,
        "output": "ctc", "bytes_on_disk": 100, "files": "none",
    }  # fmt: skip
    return EngineInfo(**{**values, **changes})


@pytest.fixture
def fake():
    """Return a function from a label and a list of calls to a fake row."""

    def make(label="row", calls=None, **changes):
        return FakeEngine(make_info(label, **changes), [] if calls is None else calls)

    return make


@pytest.fixture(scope="session")
def extracted(trained, tmp_path_factory):
    """Both subnets of a tiny trained model as folders of their own."""
    from espnet2_supernet.bin import prune_extract

    root = tmp_path_factory.mktemp("extracted")
    for name in ("server", "device"):
        prune_extract.main(
            ["--asr_model_file", str(next(trained.glob("valid.*.ave.pth"))), "--subnet", name,
             "--output_dir", str(root / name)]
        )  # fmt: skip
    return root
