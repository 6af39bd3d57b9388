"""The encoder of a bundle, chunk by chunk: Python around ``chunk``.

Reading order: ``stream`` (features in, frames out), ``step`` (a chunk), ``program_builder`` (from
weights to operations), ``weights``, ``arena``, ``team`` (threads). Where frames are dropped,
``dropping`` and ``kept_step`` stand in for the first two.
"""
