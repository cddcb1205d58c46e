"""The whole model as C++: positions to forces in one call.

Sweeps over the atoms, a barrier after each: every layer forward, the energy and its gradient in the last layer's sums,
every layer backward.
"""

from __future__ import annotations

import torch

from shoal.architectures.native.declarations import constants, memory, radial_weights, scratch
from shoal.architectures.native.plan import ModelPlan
from shoal.architectures.native.sweeps import backward, forward
from shoal.native import shipped
from shoal.nn.convolution.native.emit import emit_convolution, emit_direction_gradient

INTERFACE = 4
"""To be raised when what passes between a caller and a kernel changes: call.h and the exported functions."""
BLOCK = 6
"""Atoms of a block: rows of a matrix product that share the loads of its matrix."""


def source_of(plan: ModelPlan) -> str:
    """The text of the kernel; the same for the same plan."""
    return "\n\n".join(
        [
            "// Made by Shoal from a NequIP configuration; see docs/performance.md.",
            "#define REAL " + ("float" if plan.dtype == torch.float32 else "double"),
            shipped("vectors.h"),
            shipped("activations.h"),
            f"constexpr int BLOCK = {BLOCK}, MAX_DIM = {2 * plan.config.l_max + 1};",
            shipped("dense.h"),
            shipped("radial.h"),
            shipped("message_passing.h"),
            constants(plan),
            emit_direction_gradient(plan.config.l_max),
            *(emit_convolution(layer.convolution, gathers=layer.n > 0) for layer in plan.layers),
            *(radial_weights(plan, layer) for layer in plan.layers),
            memory(plan),
            scratch(plan),
            *(forward(plan, layer) for layer in plan.layers),
            *(backward(plan, layer) for layer in reversed(plan.layers) if len(plan.layers) > 1),
            _entry(plan),
        ]
    )


def _entry(plan: ModelPlan) -> str:
    """What Python calls."""
    last = plan.layers[-1].n
    gradient = [f"      backward_{n}(c, m, s, lo, hi);\n#pragma omp barrier" for n in range(last, -1, -1) if last]
    sweeps = [f"    forward_{n}(c, m, s, lo, hi);\n#pragma omp barrier" for n in range(last + 1)]
    return f"""\
constexpr int64_t WEIGHTS_OF_AN_EDGE = {sum(layer.convolution.n_weights for layer in plan.layers)};

static int64_t needed_bytes(const Call& call, int most) {{
  Arena arena(nullptr);
  const Call c = completed(call, WEIGHTS_OF_AN_EDGE, arena);
  Memory memory(arena, c);
  for (int t = 0; t < c.threads; ++t) Scratch scratch(arena, most);
  return int64_t(arena.used) + 256;
}}

EXPORT int64_t interface() {{ return {INTERFACE}; }}
EXPORT int64_t types() {{ return TYPES; }}
EXPORT int64_t bytes_of_weights() {{ return {plan.weights.numel()} * sizeof(real); }}

// 0, what out_of_range says, or less the bytes of the workspace it needs
EXPORT int64_t evaluate(const Call* call) {{
  if (const int refused = out_of_range(*call, TYPES)) return refused;
  const int most = most_neighbors(call->n_atoms, call->offsets);
  if (const int64_t needed = needed_bytes(*call, most); needed > call->workspace_bytes) return -needed;
  Arena arena((char*)((size_t(call->workspace) + 63) & ~size_t(63)));
  const Call c = completed(*call, WEIGHTS_OF_AN_EDGE, arena);
  const int wanted = int(c.threads);
  Memory m(arena, c);
  m.graph.begin(c);
  std::vector<Scratch> scratch;
  for (int t = 0; t < wanted; ++t) scratch.emplace_back(arena, most);
#pragma omp parallel num_threads(wanted) if (wanted > 1)
  {{
    const int thread = omp_get_thread_num(), here = omp_get_num_threads();
    Scratch& s = scratch[thread];
    const int64_t lo = boundary(c, thread, here), hi = boundary(c, thread + 1, here);
    double* own = m.sums.own(thread);
    if (c.gradients) {{
      std::memset(own, 0, sizeof(double) * 3 * c.n_atoms);
      std::memset(m.sums.virial + 9 * lo, 0, sizeof(double) * 9 * (hi - lo));
    }}
    find_edges<TYPES, BY_TYPE, {plan.pieces or 1}>(c, m.graph, s.centre, PER_CUTOFF, lo, hi);
#pragma omp barrier
{chr(10).join(sweeps)}
    if (c.gradients) {{
{chr(10).join(gradient)}
      join_forces(c, m.sums, here, lo, hi);
    }}
  }}
  join_systems(c, m.sums);
  return 0;
}}"""
