"""Subnets as ONNX graphs, for runtimes other than ours.

Reading order: ``chunk_graph`` (one chunk through the blocks, in operators that ONNX has),
``encoder_graphs`` (whole utterances; one step of a stream), ``head_graphs`` (features, CTC,
predictor, joiner), ``metadata``, ``onnx_file`` (writing), ``onnx_stream`` (a stream over the step),
``check`` (against PyTorch).
"""
