#!/usr/bin/env python3
"""Join what parallel jobs decoded: join_decoded.py <decode>/<set>, from its logdir/output.<n>/."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

FILES = ("text", "token", "token_int", "score", "token_time")


def join(decoded: Path) -> None:
    """Write the joined files, sorted by utterance id, and one decode.yaml for all jobs.

    Args:
        decoded: Folder of one decoded set.

    Raises:
        FileNotFoundError: If a job left out one of its files.
    """
    parts = sorted(decoded.glob("logdir/output.*"))
    for name in FILES:
        lines = [line for part in parts for line in (part / name).read_text().splitlines()]
        lines.sort(key=lambda line: line.split(maxsplit=1)[0])
        (decoded / name).write_text("".join(f"{line}\n" for line in lines))
    settings = [yaml.safe_load((part / "decode.yaml").read_text()) for part in parts]
    joined = settings[0]
    if "num_utterances" in joined:
        joined["num_utterances"] = sum(setting["num_utterances"] for setting in settings)
    if len(parts) > 1:  # jobs that share the cores measure each other
        joined.pop("real_time_factor", None)
    if "command" in joined:  # the one command that decodes the whole set into this folder
        command = re.sub(r" --key_file \S+", "", joined["command"])
        joined["command"] = command.replace(f"/logdir/{parts[0].name}", "")
    (decoded / "decode.yaml").write_text(yaml.safe_dump(joined, sort_keys=False))


if __name__ == "__main__":
    join(Path(sys.argv[1]))
