"""What runs without torch and without ESPnet: numpy, numba and soundfile only.

Two things: recognition with a *bundle*, one streaming subnet as a folder, and block-sparse products
for training (``training``).

Reading order of recognition: ``recognizer`` (what it is for), ``session``, ``result``; ``bundle``
(the folder); ``layers`` (features, subsampling, output layers), ``encoder`` (the blocks, chunk by
chunk) and ``search``. Below them, compiled: ``chunk`` and ``kernels``.
"""
