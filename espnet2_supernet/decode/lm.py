"""Shallow fusion with a language model trained by ESPnet's ``lm_train``.

Only recurrent models (``seq_rnn``): their state has a fixed size, so the search stays bounded.
A Transformer LM's state grows with the text; it is refused, as ESPnet's own transducer search does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_supernet.errors import CheckpointError, ConfigError


class FusionLM:
    """A recurrent language model as a step function over batches of token histories.

    Args:
        model: ``espnet2.lm.seq_rnn_lm.SequentialRNNLM`` or a model with its ``batch_score``.
        vocab_size: Vocabulary of the recogniser; both must agree.
        device: Where it runs.

    Raises:
        ConfigError: If the model is not recurrent or its vocabulary differs.
    """

    def __init__(self, model: Any, vocab_size: int, device: str | torch.device = "cpu") -> None:
        """Check the model and move it to ``device``."""
        if not hasattr(model, "rnn_type"):
            raise ConfigError(
                f"language model {type(model).__name__}: only recurrent ones (lm: seq_rnn) can be "
                "fused, their state is bounded"
            )
        if model.decoder.out_features != vocab_size:
            raise ConfigError(
                f"the language model has {model.decoder.out_features} tokens, the recogniser "
                f"{vocab_size}: train it on the same token list"
            )
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        self.start_id = vocab_size - 1  # ESPnet's <sos/eos> is the last token

    def start(self) -> tuple[list[Any], np.ndarray]:
        """Return the state after ``<sos>`` and the scores of the first token.

        Returns:
            A list of one state and log-probabilities ``(1, V)``.
        """
        return self.step([None], [self.start_id])

    @torch.no_grad()
    def step(self, states: list[Any], tokens: list[int]) -> tuple[list[Any], np.ndarray]:
        """Read one more token per history.

        Args:
            states: One state per history.
            tokens: The token read by each, ``(B,)``.

        Returns:
            New states and natural log-probabilities of the next token ``(B, V)``.
        """
        ids = torch.tensor(tokens, dtype=torch.long, device=self.device)[:, None]
        log_probs, new_states = self.model.batch_score(ids, states, None)
        return list(new_states), log_probs.double().cpu().numpy()


def load_lm(
    config: str | Path, checkpoint: str | Path, vocab_size: int, device: str = "cpu"
) -> FusionLM:
    """Load a language model by its ESPnet files.

    Args:
        config: ``config.yaml`` of ESPnet's ``lm_train``.
        checkpoint: Its weights.
        vocab_size: Vocabulary of the recogniser.
        device: Where it runs.

    Raises:
        CheckpointError: If a file is missing or does not fit.
        ConfigError: If the model cannot be fused.
    """
    for path in (config, checkpoint):
        if not Path(path).is_file():
            raise CheckpointError(f"language model: no such file: {path}")
    from espnet2.tasks.lm import LMTask

    try:
        model, _ = LMTask.build_model_from_file(str(config), str(checkpoint), device)
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(f"language model {checkpoint}: {error}") from error
    return FusionLM(model.lm, vocab_size, device)
