"""Block-sparse products and their gradients for training; ``sparsity/block_linear.py`` uses them.

Reading order: ``block_products``, ``block_loops``, ``block_tiles``, ``threads``.
"""
