"""The folder that a device gets, and what is in it.

Reading order: ``folder``, ``description``, ``encoder_sizes``, ``keep_rule``, ``block_matrix``,
``weights_file``.
"""

from espnet2_supernet.runtime.bundle.folder import (
    SUMS,
    Bundle,
    Weights,
    file_digest,
    read_bundle,
    write_bundle,
)

__all__ = ["SUMS", "Bundle", "Weights", "file_digest", "read_bundle", "write_bundle"]
