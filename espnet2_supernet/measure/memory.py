"""Peak memory of one row, in a process of its own.

    python -m espnet2_supernet.measure.memory < request.json

All rows share one process while they are timed, which says nothing of the memory of each. Here a
fresh process loads one row, streams some utterances, and tells its largest resident memory: the
libraries that the row needs are part of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from espnet2_supernet.errors import SupernetError
from espnet2_supernet.measure.machine import peak_memory_bytes
from espnet2_supernet.measure.rows import RowSpec, build

MODULE = "espnet2_supernet.measure.memory"


def peak_memory(spec: RowSpec, files: Sequence[Path], timeout: float = 600.0) -> int:
    """Measure one row.

    Args:
        spec: The row.
        files: Audio files to stream, in order.
        timeout: Seconds after which the process is given up.

    Returns:
        Bytes of resident memory at most.

    Raises:
        SupernetError: If the process fails.
    """
    request = {"spec": asdict(spec), "files": [str(path) for path in files]}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE], input=json.dumps(request), env=environment,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])
    except (subprocess.TimeoutExpired, IndexError, KeyError, ValueError) as error:
        last = "" if isinstance(error, subprocess.TimeoutExpired) else done.stderr.strip()[-300:]
        raise SupernetError(f"memory of row '{spec.kind}' not measured: {last or error}") from error


def main() -> None:
    """Load the row of standard input, stream, print ``{"peak_bytes": n}``."""
    import soundfile

    from espnet2_supernet.measure.clock import StageClock
    from espnet2_supernet.measure.interleave import recognise

    request = json.load(sys.stdin)
    engine, clock = build(RowSpec(**request["spec"])), StageClock()
    for path in request["files"]:
        samples, _ = soundfile.read(path, dtype="float32")
        recognise(engine, samples, clock)
    print(json.dumps({"peak_bytes": peak_memory_bytes()}))


if __name__ == "__main__":
    main()
