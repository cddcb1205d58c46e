"""Shoal: train, pack, compile and run interatomic potentials on many atomistic systems at once.

Names are imported when first used, so that `import shoal` costs little beyond `import torch`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal import conformance as conformance
    from shoal import contract as contract
    from shoal import io as io
    from shoal import potentials as potentials
    from shoal import units as units
    from shoal.conformance import check as check
    from shoal.deploy import compile_model as compile_model
    from shoal.deploy.package import package as package
    from shoal.engine import BatchCalculator as BatchCalculator
    from shoal.engine import evaluate as evaluate
    from shoal.engine import load as load
    from shoal.engine import relax as relax
    from shoal.engine import simulate as simulate
    from shoal.integrations.metatomic import export_model as export_model
    from shoal.integrations.nequip import import_nequip as import_nequip
    from shoal.state import SimState as SimState
    from shoal.state import TypeMap as TypeMap
    from shoal.state import concatenate as concatenate
    from shoal.state import select as select
    from shoal.state import split as split
    from shoal.status import Status as Status
    from shoal.throughput import bench as bench
    from shoal.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "BatchCalculator": "engine",
    "SimState": "state",
    "Status": "status",
    "TypeMap": "state",
    "bench": "throughput",
    "check": "conformance",
    "compile_model": "deploy",
    "concatenate": "state",
    "evaluate": "engine",
    "export_model": "integrations.metatomic",
    "import_nequip": "integrations.nequip",
    "load": "engine",
    "package": "deploy",
    "relax": "engine",
    "select": "state",
    "simulate": "engine",
    "split": "state",
    "train": "training",
}
_MODULES = (
    "architectures",
    "conformance",
    "constraints",
    "contract",
    "deploy",
    "dynamics",
    "engine",
    "errors",
    "files",
    "integrations",
    "io",
    "neighbors",
    "nn",
    "potentials",
    "properties",
    "relaxation",
    "state",
    "status",
    "testing",
    "throughput",
    "training",
    "units",
)

__all__ = [*sorted(_HOMES), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"shoal.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"shoal.{name}")
    raise AttributeError(f"module 'shoal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
