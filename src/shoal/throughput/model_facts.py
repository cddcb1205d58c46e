"""What a model is that was timed: its file, precision, cutoff, and the kernel that runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shoal.files import CompiledMetadata, model_kind, read_metadata
from shoal.files.compiled import radial_table_in_words
from shoal.files.describe import KINDS
from shoal.files.kernels import runnable_kernel
from shoal.potentials import Potential


def model_facts(model: Any, potential: Potential) -> dict[str, str]:
    """By name, as text."""
    facts = {"model": type(potential).__name__}
    if isinstance(model, str | Path):
        facts["model"] = str(model)
        if Path(model).exists():
            kind = model_kind(model)
            facts["kind"] = KINDS[kind]
            if kind in ("aotinductor", "torchscript"):
                facts |= kernel_facts(read_metadata(model))
    capabilities = potential.capabilities
    return {**facts, "dtype": capabilities.dtype, "cutoff": f"{potential.cutoff:g} A"}


def kernel_facts(metadata: CompiledMetadata) -> dict[str, str]:
    """Which convolution a compiled file holds, for which processor it runs, and its radial tables."""
    facts = {"kernel": metadata.kernel}
    if metadata.custom_ops and (entry := runnable_kernel(metadata.custom_ops)) is not None:
        facts["kernel"] += f", {entry['target']}"
    if metadata.radial_table:
        facts["radial tables"] = radial_table_in_words(metadata.radial_table)
    return facts
