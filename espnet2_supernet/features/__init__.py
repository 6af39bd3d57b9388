"""Acoustic features, given or learnt, each with a streaming twin for pieces of a waveform."""
