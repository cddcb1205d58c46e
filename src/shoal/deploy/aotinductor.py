"""Mode aotinductor: energy and backward pass as native code."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from shoal.cache import cache_folder
from shoal.deploy.trace import export_batch_target
from shoal.potentials import LearnedPotential


def write_aotinductor(potential: LearnedPotential, device: torch.device, out: Path) -> None:
    """Write the batch target of a potential to `out` as an AOTInductor archive, for one kind of device."""
    with _inductor_cache(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export_batch_target(potential.with_convolution("inductor"), device)
        # the number of threads is that of the process that runs the file, not of this one
        options = {"cpp.dynamic_threads": True}
        torch._inductor.aoti_compile_and_package(program, package_path=str(out), inductor_configs=options)


@contextmanager
def _inductor_cache() -> Iterator[None]:
    """Inductor's intermediate files go to Shoal's cache, or to a folder that vanishes if caching is off."""
    folder = cache_folder("inductor")
    temporary = None if folder is not None else tempfile.mkdtemp(prefix="shoal-inductor-")
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder or temporary)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
