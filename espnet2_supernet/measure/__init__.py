"""Speed and latency of recognisers, measured side by side in one process.

Reading order: ``clock`` (wall and CPU time of the stages), ``engines`` (what can be measured),
``torch_engines``, ``interleave`` (the run), ``emission`` and ``alignment`` (token emission delay),
``machine`` and ``memory`` (where it ran, and what it needed).
"""
