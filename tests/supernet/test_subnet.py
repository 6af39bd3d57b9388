import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.subnet import Subnet

DEVICE = Subnet("device", (Context(16, 64), Context(8, 64)))


def test_default_is_the_first_context():
    assert DEVICE.resolve() == DEVICE.context == Context(16, 64)
    assert DEVICE.resolve(Context(8, 64)) == Context(8, 64)


def test_untrained_contexts_are_an_opt_in():
    message = "not trained for full context; trained: chunk 16, left 64, right 0 | chunk 8"
    with pytest.raises(ConfigError, match=message.replace("|", r"\|")):
        DEVICE.resolve(Context())
    assert DEVICE.resolve(Context(), allow_untrained=True).is_full
