"""One chunk through the blocks of an encoder, compiled as a whole.

Reading order: ``program`` (the operations), ``room`` (where they work), ``products``,
``attention``, ``convolution``, and ``kept`` where frames are dropped.
"""
