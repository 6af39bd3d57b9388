"""What runs without torch and without ESPnet: numpy and numba only.

Reading order: ``block_products`` (what it is for), ``block_loops`` (over rows and groups),
``block_tiles`` and ``layout_tiles`` (the inner loops), ``vectors`` (explicit vectors for numba),
``threads``.
"""
