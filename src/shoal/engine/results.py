"""Where the results of a run go, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoal.engine.results_folder import ResultsFolder
from shoal.engine.sinks import ExtxyzFile, Sink
from shoal.errors import InputError


def open_results(
    out: str | Path,
    outputs: Sequence[str],
    *,
    model: object = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Sink:
    """The sink that `out` names: `*.xyz` and `*.extxyz` are files for people, anything else is a results folder.

    Raises InputError if results are there already and neither `overwrite` nor `resume` says what to do with them.
    """
    path = Path(out)
    if overwrite and resume:
        raise InputError("overwrite and resume exclude each other")
    if path.suffix in (".xyz", ".extxyz"):
        if resume:
            raise InputError(f"{path}: only a results folder can be resumed; give a name without .xyz")
        return ExtxyzFile(path, overwrite=overwrite)
    if path.suffix in (".csv", ".json", ".parquet", ".db", ".traj", ".cif", ".h5"):
        raise InputError(f"{path}: results are a folder (a name without ending) or an .xyz or .extxyz file")
    return ResultsFolder(path, outputs, model=model, overwrite=overwrite, resume=resume)
