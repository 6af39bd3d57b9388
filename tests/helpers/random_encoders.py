"""Encoders with random weights and random masks, for the runtime's chunk steps to agree with."""

import torch

from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription, matrix_shapes
from espnet2_supernet.sparsity.linear import MaskedLinear

ENCODERS = {"conformer": SupernetConformerEncoder, "transformer": SupernetTransformerEncoder}


def build(kind, size, heads, units, chunk, left, right, kernel=7, density=0.4, seed=0):
    """An encoder with random weights and 16x1 blocks of zeros, and its description."""
    torch.manual_seed(seed)
    options = {"cnn_module_kernel": kernel} if kind == "conformer" else {}
    encoder = ENCODERS[kind](20, size, heads, units, 2, subsampling="stack", **options)
    encoder.eval()
    for name, parameter in encoder.named_parameters():
        if "norm" in name:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    for module in encoder.modules():
        if isinstance(module, MaskedLinear):
            rows, columns = module.weight.shape
            keep = torch.rand(-(-rows // 16), columns) < density
            module.weight.data *= 2.0 * keep.repeat_interleave(16, 0)[:rows]
    description = {
        "kind": kind,
        "size": size,
        "heads": heads,
        "linear_units": units,
        "num_blocks": 2,
        "chunk_size": chunk,
        "left_context": left,
        "right_context": right,
    }
    if kind == "conformer":
        description["kernel"] = kernel
    return encoder, description


def arrays(encoder):
    return {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}


def int8_matrices(encoder, description, block):
    """The weights with matrices in int8, and the encoder with what these stand for."""
    weights = arrays(encoder)
    for name in matrix_shapes(EncoderDescription.from_dict(description)):
        matrix = BlockMatrix.from_dense(weights[name], block).quantize()
        encoder.get_parameter(name).data = torch.from_numpy(matrix.to_dense())
        weights[name] = matrix
    return weights
