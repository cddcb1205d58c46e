"""Vector instruction sets a kernel can be built for."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A machine type, the extensions that must be there, and the compiler's flags for it."""

    name: str
    machines: frozenset[str]
    needs: frozenset[str]
    flags: tuple[str, ...]


X86, ARM = frozenset({"x86_64", "amd64"}), frozenset({"aarch64", "arm64"})

TARGETS = {
    target.name: target
    for target in (
        Target(
            "avx512",
            X86,
            frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
            ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        ),
        Target("avx2", X86, frozenset({"avx2", "fma", "bmi2", "f16c"}), ("-march=x86-64-v3",)),
        Target("neon", ARM, frozenset(), ("-march=armv8-a",)),
        Target("plain", frozenset(), frozenset(), ()),
    )
}
"""By name, the widest first; plain runs on any machine of the type it was built on."""


def machine() -> str:
    """System and type of this machine, such as linux-x86_64: libraries of one do not load on another."""
    return f"{platform.system()}-{platform.machine()}".lower()


def machine_targets() -> list[Target]:
    """Targets that a compiler on this type of machine can build for."""
    machine = platform.machine().lower()
    return [target for target in TARGETS.values() if not target.machines or machine in target.machines]


@cache
def runnable_targets() -> list[Target]:
    """Targets whose code runs on this processor, the best first."""
    found = cpu_flags()
    return [target for target in machine_targets() if target.needs <= found]


@cache
def cpu_flags() -> frozenset[str]:
    """The processor's extensions, as Linux names them; empty where it does not tell."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return frozenset()
    for line in info.read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.split(":")[1].split())
    return frozenset()
