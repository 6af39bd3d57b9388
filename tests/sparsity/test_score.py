import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.score import get_score, register_score

WEIGHT = torch.tensor([[-2.0, 1.0]])
GRADIENT = torch.tensor([[1.0, 3.0]])


@pytest.mark.parametrize(
    "name, scores", [("magnitude", [2.0, 1.0]), ("gradient", [1.0, 3.0]), ("taylor", [2.0, 3.0])]
)
def test_scores(name, scores):
    score = get_score(name)
    assert score(WEIGHT, GRADIENT if score.needs_gradient else None).tolist() == [scores]


def test_names_are_checked():
    with pytest.raises(ConfigError, match="unknown score 'magnitud'; there are: magnitude"):
        get_score("magnitud")
    with pytest.raises(ConfigError, match="exists already"):
        register_score("magnitude", lambda weight, gradient: weight)
