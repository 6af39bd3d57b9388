"""The encoder of a subnet as two graphs: whole utterances, and one step of a stream."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.block import ConformerBlock, TransformerBlock
from espnet2_supernet.encoder.rotary import rotary_tables
from espnet2_supernet.encoder.sizes import check_equal_blocks
from espnet2_supernet.encoder.stack import check_no_norms
from espnet2_supernet.encoder.subsampling import FACTOR, Conv2dSubsampling, StackSubsampling
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.export.chunk_graph import Chunk, Past, run_block
from espnet2_supernet.export.onnx_stream import Run, StepStream
from espnet2_supernet.supernet.context import Context

HIDDEN = -1e30  # score of what may not be seen; minus infinity is not a number in some runtimes


class EncoderGraph(nn.Module):
    """What both graphs share.

    Args:
        encoder: Encoder of one subnet, extracted.
        normalize: ESPnet's ``GlobalMVN``, or None.

    Raises:
        ConfigError: If a part of the encoder has no ONNX form here.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Any, normalize: Any = None) -> None:
        super().__init__()
        check_no_norms(encoder, "an ONNX file")
        for block in encoder.blocks:
            if type(block) not in (TransformerBlock, ConformerBlock):
                raise ConfigError(
                    f"{type(encoder).__name__}: {type(block).__name__} cannot be exported to ONNX; "
                    "supernet_conformer and supernet_transformer can"
                )
        if not isinstance(encoder.subsampling, (Conv2dSubsampling, StackSubsampling)):
            raise ConfigError("encoder_conf.subsampling: conv2d and stack can be exported to ONNX")
        check_equal_blocks(encoder, "ONNX")
        self.encoder = encoder
        self.heads = encoder.blocks[0].attention.heads
        self.reach = encoder.blocks[0].reach
        self.num_features = encoder.input_size
        self.size = encoder.output_size()
        has_mean = normalize is not None and normalize.norm_means
        has_std = normalize is not None and normalize.norm_vars
        zero, one = torch.zeros(1), torch.ones(1)
        self.register_buffer("mean", normalize.mean.float() if has_mean else zero)
        self.register_buffer("std", normalize.std.float() if has_std else one)

    def normalized(self, feats: Tensor) -> Tensor:
        """Normalise features ``(B, T, F)`` by the statistics of the training data."""
        return (feats - self.mean) / self.std

    def stacked(self, feats: Tensor) -> Tensor:
        """``StackSubsampling`` for any number of features: a traced ``unflatten`` keeps it."""
        return self.encoder.subsampling.linear(feats).reshape(feats.size(0), -1, self.size)

    def first_past(self, x: Tensor) -> Past:
        """What a block remembers before the first frame, without left context."""
        empty = x.new_zeros(x.size(0), self.heads, 0, self.size // self.heads)
        conv = x[:, :1].expand(-1, self.reach, -1) * 0.0 if self.reach else None
        return Past(empty, empty, conv)


class FullContextGraph(EncoderGraph):
    """Features of whole utterances to encoder frames."""

    input_names = ("feats", "feats_lengths")
    output_names = ("encoder_out", "encoder_out_lengths")

    def forward(self, feats: Tensor, feats_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            feats: Features as the front-end makes them ``(B, T, F)``, T at least 4.
            feats_lengths: Their lengths ``(B,)``, int64.

        Returns:
            Frames ``(B, T // 4, D)``, zero beyond each length, and lengths ``(B,)``.
        """
        whole = feats.size(1) // FACTOR * FACTOR
        x = self._subsample(self.normalized(feats[:, :whole]))
        lengths = torch.div(feats_lengths, FACTOR, rounding_mode="floor")
        steps = torch.arange(x.size(1), device=x.device)
        valid = steps[None] < lengths[:, None]
        # An utterance without a frame attends to its padding: softmax over nothing is no number.
        visible = valid | (lengths == 0)[:, None]
        bias = torch.where(visible, 0.0, HIDDEN)[:, None, None]
        chunk = Chunk(0, valid, bias, self._angles(steps))
        past = self.first_past(x)
        for block in self.encoder.blocks:
            x, _ = run_block(block, x, chunk, past)
        return self.encoder.norm(x) * valid[..., None].to(x.dtype), lengths

    def _subsample(self, feats: Tensor) -> Tensor:
        """Map features ``(B, 4 n, F)`` to frames ``(B, n, D)``."""
        module = self.encoder.subsampling
        if isinstance(module, StackSubsampling):
            return self.stacked(feats)
        state = [one.expand(feats.size(0), -1, -1, -1) for one in module.init_state(1)]
        return module(feats, state)[0]

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines ``(T, D / H)``, computed in the graph: T is not known yet.

        Whole turns are taken off in float64, so that float32 is exact enough for long utterances.
        """
        dim = self.size // self.heads
        turns = 10000.0 ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim) / (2 * math.pi)
        angle = positions[:, None].double() * turns
        angle = (angle - angle.floor()).float() * (2 * math.pi)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


class ChunkStepGraph(EncoderGraph):
    """One step of a stream: a chunk and its right context in, a chunk of encoder frames out.

    A step reads ``4 * (C + R)`` features, of which the next step reads the last ``4 * R`` again.
    At the end of an utterance the window is padded and ``num_frames`` says what is real; as long
    as more than C frames remain, further steps follow.

    Args:
        encoder: Encoder of one subnet, extracted.
        normalize: ESPnet's ``GlobalMVN``, or None.
        context: Chunk, left and right context in encoder frames.

    Raises:
        ConfigError: If the context is full, or the encoder has no ONNX form here.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, encoder: Any, normalize: Any, context: Context) -> None:
        super().__init__(encoder, normalize)
        if context.chunk_size is None:
            raise ConfigError("a full-context subnet has no chunks to step over")
        self.context, self.chunk_size = context, context.chunk_size
        self.left, self.span = context.left_context, context.chunk_size + context.right_context
        positions = torch.arange(-self.left, self.span)
        cos, sin = rotary_tables(positions, 1, self.size // self.heads)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)
        self.cache_names = tuple(name for name, _ in self.cache_shapes(1))
        self.input_names = ("feats", "num_frames", *self.cache_names)
        self.output_names = ("encoder_out", *(f"new_{name}" for name in self.cache_names))

    def cache_shapes(self, batch_size: int) -> list[tuple[str, tuple[int, ...]]]:
        """Return names and shapes of the caches; all are zeros before the first step.

        ``processed_frames`` is int64, the others float32. B is the number of blocks:
        ``cached_key`` and ``cached_value (B, N, H, L, D / H)`` with left context,
        ``cached_conv (B, N, reach, D)`` in a conformer, ``cached_subsampling_i`` with conv2d.
        """
        blocks, dim = len(self.encoder.blocks), self.size // self.heads
        shapes: list[tuple[str, tuple[int, ...]]] = []
        if self.left:
            key = (blocks, batch_size, self.heads, self.left, dim)
            shapes += [("processed_frames", (batch_size,)), ("cached_key", key)]
            shapes += [("cached_value", key)]
        if self.reach:
            shapes.append(("cached_conv", (blocks, batch_size, self.reach, self.size)))
        for i, shape in enumerate(getattr(self.encoder.subsampling, "state_shapes", [])):
            shapes.append((f"cached_subsampling_{i}", (batch_size, *shape)))
        return shapes

    def stream(self, run: Run) -> StepStream:
        """Start a stream over this graph.

        Args:
            run: Runs it, in whatever runtime.
        """
        shapes = self.cache_shapes(1)
        return StepStream(run, self.chunk_size, self.context.right_context, shapes, FACTOR)

    def forward(self, feats: Tensor, num_frames: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Encode one chunk.

        Args:
            feats: Features as the front-end makes them ``(N, 4 * (C + R), F)``.
            num_frames: Encoder frames of the window that exist ``(N,)``, int64, C + R but at the
                end of an utterance.
            *caches: See :meth:`cache_shapes`.

        Returns:
            Frames ``(N, C, D)``, of which ``min(C, num_frames)`` exist, and the next caches.
        """
        given = dict(zip(self.cache_names, caches, strict=True))
        x, subsampling = self._subsample(self.normalized(feats), given)
        chunk = self._chunk(num_frames, given)
        nothing, states = self.first_past(x), []
        for i, block in enumerate(self.encoder.blocks):
            key = given["cached_key"][i] if self.left else nothing.key
            value = given["cached_value"][i] if self.left else nothing.value
            conv = given["cached_conv"][i] if self.reach else None
            x, past = run_block(block, x, chunk, Past(key, value, conv))
            states.append(past)
        new: list[Tensor] = []
        if self.left:
            new.append(torch.clamp(given["processed_frames"] + self.chunk_size, max=self.left))
            new += [torch.stack([one.key for one in states])]
            new += [torch.stack([one.value for one in states])]
        if self.reach:
            new.append(torch.stack([one.conv for one in states if one.conv is not None]))
        return (self.encoder.norm(x[:, : self.chunk_size]), *new, *subsampling)

    def _chunk(self, num_frames: Tensor, given: dict[str, Tensor]) -> Chunk:
        valid = torch.arange(self.span)[None] < num_frames[:, None]
        visible = valid
        if self.left:
            missing = self.left - given["processed_frames"][:, None]
            visible = torch.cat([torch.arange(self.left)[None] >= missing, valid], dim=1)
        bias = torch.where(visible, 0.0, HIDDEN)[:, None, None]
        return Chunk(self.chunk_size, valid, bias, (self.cos, self.sin))

    def _subsample(self, feats: Tensor, given: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return frames ``(N, C + R, D)`` and the state after the first C of them."""
        module = self.encoder.subsampling
        if isinstance(module, StackSubsampling):
            return self.stacked(feats), []
        x, states = feats[:, None], []
        for i, conv in enumerate((module.conv1, module.conv2)):
            x = torch.cat([given[f"cached_subsampling_{i}"], x], dim=2)
            last = self.chunk_size * FACTOR // 2**i  # inputs that the first C frames use up
            states.append(x[:, :, last : last + 1])
            x = F.silu(conv(x))
        return module.linear(x.transpose(1, 2).flatten(2)), states
