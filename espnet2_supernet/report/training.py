"""What a training cost, from ``training_cost.json``."""

from __future__ import annotations

from pathlib import Path

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.files import read_json_object
from espnet2_supernet.report.latency import DASH

COST_FILE = "training_cost.json"
COST_COLUMN = "training (1000 block-updates: own / with all before it)"


def cost_text(expdir: Path) -> str:
    """Return ``own / chain`` in thousands, or a dash where nothing was counted.

    The chain begins with ``>`` if it starts from a file whose training could not be counted.

    Args:
        expdir: Folder of an experiment.

    Raises:
        DataError: If the file is damaged.
    """
    path = Path(expdir) / COST_FILE
    if not path.is_file():
        return DASH
    content = read_json_object(path)
    try:
        more = ">" if content.get("uncounted") else ""
        own, chain = (float(content[key]) / 1000 for key in ("own", "chain"))
        return f"{own:.1f} / {more}{chain:.1f}"
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: 'own' and 'chain' must be numbers; count again") from error
