"""The folder that a device gets, and what is in it.

Reading order: ``folder``, ``description``, ``encoder_sizes``, ``block_matrix``, ``weights_file``.
"""
