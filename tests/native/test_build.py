"""Kernels are built, kept and found again; one that cannot be had is never missed in silence."""

from __future__ import annotations

import sys

import pytest
import torch

from shoal.errors import CompileError, MissingCompilerError, ShoalWarning
from shoal.native import build, kernel, load, machine_targets, shipped
from shoal.neighbors.native import is_available
from shoal.nn import interpolation
from shoal.potentials import LennardJones, StillingerWeber

TEXT = 'extern "C" __attribute__((visibility("default"))) int answer() {{ return {}; }}'
POTENTIALS = {
    "Stillinger-Weber": StillingerWeber,
    **{
        mode: lambda mode=mode: LennardJones({"Ar": (0.01, 3.4)}, 8.0, mode)  # type: ignore[misc]
        for mode in ("none", "shift", "switch")
    },
}


def test_the_package_s_own_kernels_are_made_here() -> None:
    """Without this their tests would compare the slower operators with themselves."""
    assert is_available()
    assert interpolation.library(torch.float32) is not interpolation.library(torch.float64)
    for make in POTENTIALS.values():
        found = make().kernel
        assert found is not None
        assert found.is_available()


def test_a_text_is_built_for_every_instruction_set_of_the_machine() -> None:
    text = TEXT.format(7)
    libraries = [build(text, target) for target in machine_targets()]
    assert all(libraries)
    assert build(text, machine_targets()[0]) == libraries[0]
    assert load(text).answer() == 7
    assert load(TEXT.format(8)).answer() == 8


def test_a_text_that_is_no_cpp_is_refused_with_the_compiler_s_words() -> None:
    with pytest.raises(CompileError, match="cannot compile a kernel: .*error"):
        load("this is no C++")


def test_without_a_compiler_a_shipped_kernel_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingCompilerError("no C++ compiler was found")

    monkeypatch.setattr(sys.modules["shoal.native.build"], "load", missing)
    kernel.cache_clear()
    assert kernel("neighbors.cpp") is None
    kernel.cache_clear()


def test_a_compiler_that_fails_is_worth_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise CompileError("g++ cannot compile a kernel: error")

    monkeypatch.setattr(sys.modules["shoal.native.build"], "load", failing)
    kernel.cache_clear()
    with pytest.warns(ShoalWarning, match="going on without this kernel, which is slower"):
        assert kernel("neighbors.cpp") is None
    kernel.cache_clear()


def test_headers_are_put_in() -> None:
    assert '#include "' not in shipped("lennard_jones.cpp")
    assert "typedef REAL real;" in shipped("lennard_jones.cpp")
