"""Losses: RNN-T (plain and memory-bounded), distillation, sequential backward."""
