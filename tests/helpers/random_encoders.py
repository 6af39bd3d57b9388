"""Encoders with random weights and random masks, for the runtime's chunk steps to agree with."""

import torch

from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription, matrix_shapes
from espnet2_supernet.sparsity.linear import MaskedLinear

ENCODERS = {"conformer": SupernetConformerEncoder, "transformer": SupernetTransformerEncoder}

UNLIKE = {"heads": [3, 1], "head_size": 6, "linear_units": [37, 50]}
CUT = {**UNLIKE, "key_size": [4, 2], "value_size": [5, 6]}  # heads without some of their dimensions
UNLIKE_CONFORMER = {**UNLIKE, "macaron_units": [20, 70], "channels": [7, 34]}


def build(kind, size, heads, units, chunk, left, right, kernel=7, density=0.4, seed=0, blocks=2):
    """An encoder with random weights and 16x1 blocks of zeros, and its description."""
    torch.manual_seed(seed)
    options = {"cnn_module_kernel": kernel} if kind == "conformer" else {}
    encoder = ENCODERS[kind](20, size, heads, units, blocks, subsampling="stack", **options)
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
        "num_blocks": blocks,
        "chunk_size": chunk,
        "left_context": left,
        "right_context": right,
    }
    if kind == "conformer":
        description["kernel"] = kernel
    return encoder, description


def unlike(kind, sizes):
    """An encoder whose blocks differ in size, as structured pruning leaves them."""
    torch.manual_seed(0)
    names = {"head_size": "attention_head_size", "macaron_units": "macaron_linear_units",
             "channels": "convolution_channels", "heads": "attention_heads",
             "key_size": "attention_key_size", "value_size": "attention_value_size"}  # fmt: skip
    options = {names.get(key, key): value for key, value in sizes.items()}
    options |= {"cnn_module_kernel": 7} if kind == "conformer" else {}
    encoder = ENCODERS[kind](20, 20, num_blocks=2, subsampling="stack", **options).eval()
    if "key_size" in sizes:  # other pairs than the first ones
        for block, pairs in zip(encoder.blocks, ([0, 2], [1]), strict=True):
            block.attention.rotary_pairs.copy_(torch.tensor(pairs))
    common = {"kind": kind, "size": 20, "num_blocks": 2, "chunk_size": 6, "left_context": 9}
    kernel = {"kernel": 7} if kind == "conformer" else {}
    return encoder, {**common, "right_context": 2, **kernel, **sizes}


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
