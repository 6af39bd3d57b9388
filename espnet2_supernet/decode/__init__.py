"""Incremental CTC and RNN-T search, streaming sessions and ESPnet-shaped ``Speech2Text``."""
