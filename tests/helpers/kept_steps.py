"""Chunk steps over kept frames without torch, and the passes that they are compared with."""

import dataclasses

import numpy as np
import torch

from dropped_frames import Told
from espnet2_supernet.encoder.streaming import _stream_chunks
from espnet2_supernet.supernet.context import Context


@torch.no_grad()
def streamed(encoder, frames, keep, description, compacted=False, *blocks, **named):
    """What ``SupernetEncoder.stream`` makes of subsampled frames, of which some are kept.

    ``blocks``: that before which frames are dropped, that before which they come back, and
    whether they do so with the last change.
    """
    sizes = (description[name] for name in ("chunk_size", "left_context", "right_context"))
    told = torch.from_numpy(keep)[None]
    state = encoder.init_state(Context(*sizes), 1, Told(told, compacted, *blocks, **named))
    state.frames = torch.from_numpy(frames)[None]
    state.dropping = dataclasses.replace(state.dropping, keep=told)
    return _stream_chunks(encoder, state, True)[0][0].numpy()


def stepped(step, frames, keep, state=None):
    """The same frames, chunk by chunk."""
    state, out, chunk = state or step.init_state(), [], step.description.chunk_size
    for start in range(0, len(frames), chunk):
        part = slice(start, start + step.span)
        out.append(step.step_kept(frames[part], keep[part], state))
    assert state.past == len(frames)
    assert state.num_kept == keep.sum()
    return np.concatenate(out)


def decisions(size):
    """Some frames, more and fewer of them, and long gaps; hardly any; all; the first one."""
    rng = np.random.default_rng(0)
    some = rng.random(size) < np.linspace(0.2, 1.0, size)
    some[size // 3 : size // 2] = False
    hardly, first = np.zeros((2, size), bool)
    hardly[[0, size // 2, size - 1]] = first[0] = True
    return some, hardly, np.ones(size, bool), ~some, first
