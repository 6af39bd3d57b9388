"""Several GPUs in one process made ESPnet use DataParallel, which trained no subnet.

Its copies of the modules were never activated: all "subnets" were the dense network.
"""

from types import SimpleNamespace

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.train.trainer import SupernetTrainer


def test_several_gpus_in_one_process_are_refused():
    option = SimpleNamespace(distributed=False, ngpu=2)
    with pytest.raises(ConfigError, match="multiprocessing_distributed"):
        SupernetTrainer.run(torch.nn.Module(), [], [], None, None, None, None, option)
