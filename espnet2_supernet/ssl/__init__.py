"""Self-supervised pre-training of a supernet: wav2vec 2.0 (arXiv 2006.11477) for every subnet.

Reading order: ``seeds``, ``spans``, ``negatives``, ``plan`` (what is drawn), ``quantizer``,
``losses`` (what is computed), ``model`` (how the subnets share it).
"""
