"""From labelled frames to a model file: train, package, compile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.demo.data_files import Data
from shoal.engine import BatchCalculator
from shoal.errors import CompileError
from shoal.throughput.timing import threads

if TYPE_CHECKING:
    from shoal.files import CompiledMetadata
    from shoal.training import TrainResult

CONFIG = "silicon.yaml"


@dataclass(frozen=True)
class Model:
    """The file that everything after training uses: compiled, or the package where compiling failed."""

    package: Path
    compiled: Path | None
    metadata: CompiledMetadata | None = None
    failure: str = ""

    @property
    def path(self) -> Path:
        return self.compiled or self.package

    def calculator(self) -> BatchCalculator:
        """The batched calculator of the file, types named like the elements."""
        if self.compiled is None:
            return BatchCalculator.from_package(self.package, chemical_species_to_atom_type_map=True)
        return BatchCalculator.from_compiled_model(self.compiled, chemical_species_to_atom_type_map=True)


def train_model(
    data: Data, out: Path, seconds: float, changes: Mapping[str, Any], progress: Callable[[Any], Any]
) -> TrainResult:
    """Train for `seconds` as `silicon.yaml` says, with `changes` (`key.path` -> value), in `out / "training"`."""
    from shoal.training import load_config, train

    text = files("shoal.demo").joinpath(CONFIG).read_text(encoding="utf-8")
    (out / CONFIG).write_text(text, encoding="utf-8")
    here = {
        "output": str(out / "training"),
        "data.train": str(data.train_file),
        "data.val": str(data.validation_file),
        "training.max_time": seconds,
        "overwrite": True,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in {**here, **changes}.items()]
    with one_thread():
        return train(load_config(out / CONFIG, overrides), progress=progress)


@contextmanager
def one_thread() -> Iterator[None]:
    """For batches of 64 atoms a second thread gains a fifth on an idle machine and loses manifold on a busy one."""
    with threads(1):
        yield


def package_model(trained: TrainResult, out: Path) -> Path:
    """Pack the best averaged weights."""
    from shoal.deploy import package

    return package(trained.best or trained.last, out / "silicon.shoal")


def compile_package(package: Path) -> Model:
    """Compile the package beside itself; where that fails the model is the package, and `failure` says why."""
    from shoal.deploy import compile_model

    compiled = package.with_suffix(".shoal.pt2")
    compiled.unlink(missing_ok=True)
    try:
        metadata = compile_model(package, compiled)
    except CompileError as error:
        return Model(package, None, failure=str(error))
    return Model(package, compiled, metadata)
