"""The encoder of a bundle, chunk by chunk: Python around ``chunk``.

Reading order: ``stream`` (features in, frames out), ``step`` (a chunk), ``program_builder`` (from
weights to operations), ``weights``, ``arena``, ``team`` (threads).
"""
