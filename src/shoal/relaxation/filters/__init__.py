"""Cell filters: which degrees of freedom of the cell are relaxed beside the atoms."""

from __future__ import annotations

from shoal.errors import InputError
from shoal.relaxation.filters.base import CellFilter as CellFilter
from shoal.relaxation.filters.fixed_cell import FixedCell as FixedCell
from shoal.relaxation.filters.frechet import Frechet as Frechet
from shoal.relaxation.filters.unit_cell import UnitCell as UnitCell

FILTERS: dict[str | None, type[CellFilter]] = {None: FixedCell, "unit": UnitCell, "frechet": Frechet}
"""Every cell filter there is, by the name `cell=` takes."""


def cell_filter(cell: str | CellFilter | None) -> CellFilter:
    """The filter of a name: None (the cell stays), "unit" or "frechet"; a filter is itself. Raises InputError."""
    if isinstance(cell, CellFilter):
        return cell
    if (cell is not None and not isinstance(cell, str)) or cell not in FILTERS:
        names = ", ".join(repr(name) for name in FILTERS)
        raise InputError(f"cell must be one of {names}, or a cell filter such as Frechet(pressure=1.0); got {cell!r}")
    return FILTERS[cell]()
