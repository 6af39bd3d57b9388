"""What runs without torch and without ESPnet: numpy, numba and soundfile only.

Two things: block-sparse products for training, and recognition with a *bundle*, one streaming
subnet as a folder.

Reading order of recognition: ``recognizer`` (what it is for), ``session``, ``features``,
``encoder``, ``subsampling``, ``outputs``, ``search``; ``bundle`` and ``description`` (the folder);
``encoder_step`` (the blocks of the encoder) and, below it, ``block_matrix``, ``arena`` and the
``chunk_*`` and ``frame_*`` kernels; ``compilation``. Of training: ``block_products``,
``block_loops``, ``block_tiles`` and ``layout_tiles``. Of both: ``vectors`` (explicit vectors for
numba), ``threads``.
"""
