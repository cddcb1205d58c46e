"""What a machine can do at most: multiply-adds of vectors in registers, a product of matrices, a copy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch

from _rounds import Timing
from shoal.native import load, shipped

CHAINS = 12
"""Independent sums: enough to hide the latency of a multiply-add, few enough for 16 registers."""
ITERATIONS = 4_000_000
COPIED = 1 << 26
"""Bytes of the array that is copied: far more than caches hold."""
MATRIX = 768
"""Rows and columns of both factors."""

FMA = """
EXPORT double multiply_add(int64_t n, int64_t threads) {
  double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    vec chains[CHAINS];
    for (int k = 0; k < CHAINS; ++k) chains[k] = splat(real(k));
    vec a = splat(real(0.999)), b = splat(real(0.001));
    for (int64_t i = 0; i < n; ++i)
      for (int k = 0; k < CHAINS; ++k) chains[k] = chains[k] * a + b;
    for (int k = 0; k < CHAINS; ++k) total += sum(chains[k]);
  }
  return total;
}
EXPORT int64_t lanes() { return LANES; }
"""


class Peaks:
    """What this machine can do, as calls to time and the work in each."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.threads = torch.get_num_threads()
        source = shipped("vectors.h") + f"\nconstexpr int CHAINS = {CHAINS};" + FMA
        library = load(source, {"REAL": "float" if dtype == torch.float32 else "double"})
        library.multiply_add.argtypes, library.multiply_add.restype = [ctypes.c_int64] * 2, ctypes.c_double
        library.lanes.restype = ctypes.c_int64
        a, b = (torch.rand(MATRIX, MATRIX, dtype=dtype) for _ in range(2))
        product = torch.empty(MATRIX, MATRIX, dtype=dtype)
        source_array, target = (torch.zeros(COPIED, dtype=torch.uint8) for _ in range(2))
        self.calls: dict[str, Callable[[], object]] = {
            "multiply-add": lambda: library.multiply_add(ITERATIONS, self.threads),
            "matrix product": lambda: torch.mm(a, b, out=product),
            "copy": lambda: target.copy_(source_array),
        }
        self.work = {
            "multiply-add": 2.0 * ITERATIONS * CHAINS * library.lanes() * self.threads,
            "matrix product": 2.0 * MATRIX**3,
            "copy": 2.0 * COPIED,
        }

    def rates(self, timings: dict[str, Timing]) -> dict[str, float]:
        """Per second: flops of the first two, bytes read and written of the last."""
        return {name: work / timings[name].median for name, work in self.work.items()}
