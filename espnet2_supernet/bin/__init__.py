"""Commands: ``python -m espnet2_supernet.bin.<name>``."""

from __future__ import annotations

import sys
from collections.abc import Callable

from espnet2_supernet.errors import SupernetError


def run_main(main: Callable[[], object]) -> None:
    """Run a command; print a :class:`SupernetError` as one line and exit with status 1."""
    try:
        main()
    except SupernetError as error:
        print(f"error: {' '.join(map(str.strip, str(error).splitlines()))}", file=sys.stderr)
        sys.exit(1)
