"""One row an epoch, as CSV and for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.errors import MissingDependencyError


class Logs:
    """Writes each epoch's numbers to `history.csv` and to `tensorboard/` in a folder; `earlier` rows come first."""

    def __init__(self, folder: Path, kinds: Sequence[str], earlier: Sequence[Mapping[str, float]] = ()) -> None:
        self.csv = folder / "history.csv" if "csv" in kinds else None
        self.tensorboard = _summary_writer(folder / "tensorboard", len(earlier) + 1) if "tensorboard" in kinds else None
        if self.csv is not None:
            self.csv.unlink(missing_ok=True)
            for row in earlier:
                self._append(row)

    def write(self, row: Mapping[str, float]) -> None:
        if self.csv is not None:
            self._append(row)
        if self.tensorboard is not None:
            for name, value in row.items():
                if name != "epoch":
                    self.tensorboard.add_scalar(name, value, int(row["epoch"]))

    def close(self) -> None:
        if self.tensorboard is not None:
            self.tensorboard.close()

    def _append(self, row: Mapping[str, float]) -> None:
        assert self.csv is not None
        new = not self.csv.exists()
        with open(self.csv, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


def _summary_writer(folder: Path, first_epoch: int) -> Any:
    """Rows from `first_epoch` on that an earlier run left are hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "training.logs asks for tensorboard, which is not installed: pip install 'shoal[train]', "
            "or training.logs=[csv]"
        ) from error
    return SummaryWriter(str(folder), purge_step=first_epoch)
