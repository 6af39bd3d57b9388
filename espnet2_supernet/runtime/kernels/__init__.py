"""Inner loops as LLVM instructions, and how numba compiles and keeps what is made of them.

Reading order: ``vectors`` and ``vector_math`` (explicit vectors), ``memory``, ``caching``;
``frame_tiles`` (block-sparse products, frame beside frame), ``frame_results``, ``frame_layers``,
``frame_threads``; ``row_tiles`` (dense products, row by row); ``layout_tiles``; ``compilation``.
"""
