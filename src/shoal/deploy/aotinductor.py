"""Mode aotinductor: energy and backward pass as native code."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from shoal.cache import inductor_cache
from shoal.deploy.trace import export_batch_target
from shoal.potentials import LearnedPotential


def write_aotinductor(potential: LearnedPotential, device: torch.device, out: Path) -> None:
    """Write the batch target of a potential to `out` as an AOTInductor archive, for one kind of device."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # loads much

    get_cpp_compiler()  # raises where there is none, before half a minute of tracing
    with inductor_cache(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export_batch_target(potential, device)
        # the number of threads is that of the process that runs the file, not of this one
        options = {"cpp.dynamic_threads": True}
        torch._inductor.aoti_compile_and_package(program, package_path=str(out), inductor_configs=options)
