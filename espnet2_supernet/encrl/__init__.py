"""Representation learning for light-weight models (EncRL, Interspeech 2025, arXiv 2505.16991).

A small student encoder learns to copy a frozen recogniser without transcripts; then it is
fine-tuned. Reading order: ``losses``, ``settings``, ``teacher``, ``model``; ``checks`` refuses what
cannot be.
"""
