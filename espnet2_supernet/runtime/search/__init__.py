"""Incremental CTC and RNN-T search, one for the trained model and for the runtime.

Reading order: ``interfaces`` (what a search needs and offers), ``hypothesis``, ``ctc``, ``beam``,
``ctc_prefix``, ``ctc_beam``, ``rnnt``, ``rnnt_beam``, ``options``. Arrays in, tokens out: scores
are numpy; what a transducer head passes around between its own steps is its own business, so the
same search drives torch modules and numpy ones.
"""
