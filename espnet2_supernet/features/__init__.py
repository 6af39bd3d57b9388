"""Acoustic features, each with a streaming twin that computes the same numbers piece by piece."""
