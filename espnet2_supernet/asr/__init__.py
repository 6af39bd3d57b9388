"""Supervised recognition: the model, its transducer parts and its losses."""
