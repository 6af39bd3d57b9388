"""Layers before and behind the encoder's blocks, in numpy and one kernel.

``features`` (log-mel, normalisation), ``subsampling``, ``keep_rules`` and ``detector`` (which
frames the blocks see), ``outputs`` (CTC, RNN-T), and ``row_matrix`` with which they multiply.
"""
