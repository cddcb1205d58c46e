"""The operator by which an exported model calls its native kernel: one library for all models of a version of Shoal."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from shoal.architectures.native.source import INTERFACE
from shoal.errors import CompileError
from shoal.native import TARGETS, build, shipped


class Operator(NamedTuple):
    """The namespace that it is registered in, the name of its file, and the library."""

    namespace: str
    file: str
    library: bytes


def build_operator() -> Operator:
    """Built with torch's headers, for processors of this type and this version of torch. Raises CompileError."""
    source, torch_version = shipped("engine_operator.cpp"), torch.__version__.split("+")[0]
    given = (source, torch_version, str(INTERFACE))
    namespace = f"shoal_{hashlib.sha256(chr(0).join(given).encode()).hexdigest()[:12]}"
    folder = Path(torch.__file__).parent
    headers = [folder / "include", folder / "include" / "torch" / "csrc" / "api" / "include"]
    if not headers[0].is_dir():
        raise CompileError(f"this torch comes without headers ({headers[0]}); take --portable")
    library = build(
        source,
        TARGETS["plain"],
        {"NAMESPACE": f'"{namespace}"', "VERSION": str(INTERFACE)},
        flags=(
            "-std=c++20",
            *(f"-isystem{path}" for path in headers),
            f"-L{folder / 'lib'}",
            *(["-Wl,--no-as-needed"] if sys.platform == "linux" else []),  # libraries stand before what needs them
            "-ltorch_cpu",
            "-lc10",
        ),
    )
    return Operator(namespace, f"lib{namespace}.so", library)
