"""Training: the trainer, checkpoints that survive, averaging that knows masks."""

from espnet2_supernet.compat import quiet

quiet()  # before any espnet2 module is imported
