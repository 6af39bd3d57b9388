"""A program can say when numba compiles."""

import numba

from espnet2_supernet.runtime.kernels.compilation import on_first_compilation


def test_compilations_are_told_once_and_others_not():
    told = []
    add, subtract = (numba.njit(f) for f in (lambda a, b: a + b, lambda a, b: a - b))
    with on_first_compilation(lambda: told.append("now")):
        assert told == []
        add(1, 2)
        assert told == ["now"]
        subtract(1.0, 2.0)
        assert told == ["now"]
    with on_first_compilation(lambda: told.append("again")):
        add(3, 4)
    assert told == ["now"], "it was compiled before"
