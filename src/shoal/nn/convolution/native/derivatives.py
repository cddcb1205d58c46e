"""The convolution of one layer with radial weights given for each edge, as C++, and its derivatives.

The sums m are linear in features x, radial weights R and harmonics Y, one by one. `forward` gives m; `forward_tangent`
how m moves with tangents of x, R and Y; `backward` the gradients of g . m in x, R and Y; `backward_tangent` how those
move. Each is a derivative of one before it, which is all that a loss on forces needs.
"""

from __future__ import annotations

import torch

from shoal.native import shipped
from shoal.nn.convolution.native.emit import emit_forward, emit_sums
from shoal.nn.convolution.native.plan import ConvolutionPlan
from shoal.nn.convolution.native.polynomial import number
from shoal.nn.convolution.native.text import emit_angles, factor, lane_sums, sum_of, touched_rows


def source_of(plan: ConvolutionPlan, dtype: torch.dtype) -> str:
    """The text of the library; the same for the same plan."""
    return "\n\n".join(
        [
            "// Made by Shoal from the paths of a convolution; see docs/training.md.",
            "#define REAL " + ("float" if dtype == torch.float32 else "double"),
            shipped("vectors.h"),
            "\n".join(
                [
                    f"struct {plan.name} {{",
                    f"  static constexpr int X = {plan.x.size}, SUMS = {plan.sums.size}, WEIGHTS = {plan.n_weights};",
                    f"  static constexpr int ANGLES = {plan.n_angles}, HARMONICS = {plan.n_harmonics};",
                    *emit_angles(plan),
                    *emit_forward(plan),
                    *_forward_tangent(plan),
                    *_backward(plan, tangent=False),
                    *_backward(plan, tangent=True),
                    "};",
                ]
            ),
            shipped("convolution.h"),
            _entries(plan.name),
        ]
    )


def _entries(name: str) -> str:
    return f"""\
EXPORT bool convolve(const Call* c) {{ return forward<{name}>(*c); }}
EXPORT bool convolve_tangent(const Call* c) {{ return forward_tangent<{name}>(*c); }}
EXPORT bool convolve_backward(const Call* c) {{ return backward<{name}, false>(*c); }}
EXPORT bool convolve_backward_tangent(const Call* c) {{ return backward<{name}, true>(*c); }}"""


def _forward_tangent(plan: ConvolutionPlan) -> list[str]:
    return [
        "  // how sums move with tangents of x, of radial weights and of the harmonics",
        "  static void forward_tangent(int n, size_t ld, const real* const* x, const real* const* x_t,",
        "                              const real* const* radial, const real* const* radial_t, const real* T,",
        "                              const real* T_t, real* sums) {",
        *emit_sums(plan, _forward_tangent_path),
        "  }",
    ]


def _forward_tangent_path(plan: ConvolutionPlan, n: int, outputs: dict[tuple[int, int], int]) -> list[str]:
    path = plan.paths[n]
    sources = range(path.source.dim)
    block = plan.x.blocks[path.source]
    weight = f"{plan.weight(n)} + h"
    lines = [
        f"        {{  // {path.source} x Y{path.l} -> {path.target}",
        f"          const vec r = load(radial[e] + {weight}), r_t = load(radial_t[e] + {weight});",
    ]
    for a in sources:
        lines += [
            f"          const vec x{a} = load(q + {block.at(a)});",
            f"          const vec y{a} = x{a} * r_t + load(x_t[e] + h + {block.at(a)}) * r;",
        ]
    if path.l:
        lines += ["          const real* t_t = T_t + e;", *(f"          const vec z{a} = x{a} * r;" for a in sources)]
    for c in range(path.target.dim):
        terms = [(f"y{a}", factor(plan, n, a, c)) for a in sources]
        if path.l:
            terms += [(f"z{a}", factor(plan, n, a, c, "t_t")) for a in sources]
        lines.append(f"          s{outputs[n, c]} += {sum_of(terms)};")
    return [*lines, "        }"]


def _backward(plan: ConvolutionPlan, *, tangent: bool) -> list[str]:
    if tangent:
        lines = [
            "  // how the gradients that `backward` gives move with the tangents",
            "  static void backward_tangent(int n, size_t ld, const real* x, const real* x_t, const real* const* g,",
            "                               const real* const* radial, const real* const* radial_t, const real* T,",
            "                               const real* T_t, real* to_x, real* const* to_radial, real* G) {",
        ]
    else:
        lines = [
            "  // the n edges that start at an atom, from its own features x and gradients g in its neighbours' sums:",
            "  // gradients in x, in radial weights and, unless G is null, in the harmonics",
            "  static void backward(int n, size_t ld, const real* x, const real* const* g, const real* const* radial,",
            "                       const real* T, real* to_x, real* const* to_radial, real* G) {",
        ]
    for source, block in plan.x.blocks.items():
        numbers = [n for n, path in enumerate(plan.paths) if path.source == source]
        dim = range(source.dim)
        if not numbers:
            size = source.dim * block.stride
            lines.append(f"    std::memset(to_x + {block.start}, 0, sizeof(real) * {size});  // {source}")
            continue
        touched = touched_rows(plan, numbers)
        # two vectors of channels at a time share the sums over lanes
        halves = range(2 if block.stride % (2 * plan.lanes) == 0 else 1)
        each = [(u, a) for u in halves for a in dim]
        lines += [
            f"    for (int h = 0; h < {block.stride}; h += {len(halves)} * LANES) {{  // {source}",
            *(f"      const vec x{a}_{u} = load(x + {block.at(a)} + h + {u} * LANES);" for u, a in each),
            "      vec " + ", ".join(f"d{a}_{u} = {{}}" for u, a in each) + ";",
        ]
        if tangent:
            lines += [f"      const vec m{a}_{u} = load(x_t + {block.at(a)} + h + {u} * LANES);" for u, a in each]
        lines += [
            "      for (int e = 0; e < n; ++e) {",
            "        const real *t = T + e, *q = g[e] + h;",
            "        (void)t;",
            *(["        const real* t_t = T_t + e;", "        (void)t_t;"] if tangent else []),
        ]
        if touched:
            lines.append("        vec " + ", ".join(f"{name} = {{}}" for _, name in touched) + ";")
        for n in numbers:
            for u in halves:
                lines += _backward_path(plan, n, u, tangent=tangent)
        if touched:
            lines += ["        if (G) {", *lane_sums(touched, "+="), "        }"]
        lines += [
            "      }",
            *(f"      store(to_x + {block.at(a)} + h + {u} * LANES, d{a}_{u});" for u, a in each),
            "    }",
        ]
    return [*lines, "  }"]


def _backward_path(plan: ConvolutionPlan, n: int, u: int, *, tangent: bool) -> list[str]:
    path = plan.paths[n]
    sources, targets = range(path.source.dim), range(path.target.dim)
    shift = f" + {u} * LANES" if u else ""
    weight = f"{plan.weight(n)} + h{shift}"
    lines = [
        f"        {{  // {path.source} x Y{path.l} -> {path.target}",
        f"          const vec r = load(radial[e] + {weight});",
        *([f"          const vec r_t = load(radial_t[e] + {weight});"] if tangent else []),
        *(f"          const vec c{c} = load(q + {plan.slot(n, c)}{shift});" for c in targets),
        "          vec w = {};",
    ]
    for a in sources:
        lines.append(f"          const vec p{a} = {sum_of((f'c{c}', factor(plan, n, a, c)) for c in targets)};")
        if not tangent:
            lines += [f"          d{a}_{u} += p{a} * r;", f"          w += p{a} * x{a}_{u};"]
            continue
        lines += [
            f"          d{a}_{u} += p{a} * r_t;",
            f"          w += p{a} * m{a}_{u};",
        ]
        if path.l:
            text = sum_of((f"c{c}", factor(plan, n, a, c, "t_t")) for c in targets)
            lines += [
                f"          const vec z{a} = {text};",
                f"          d{a}_{u} += z{a} * r;",
                f"          w += z{a} * x{a}_{u};",
            ]
    lines.append(f"          store(to_radial[e] + {weight}, w);")
    if path.l:
        lines.append("          if (G) {")
        for a in sources:
            text = f"x{a}_{u} * r_t + m{a}_{u} * r" if tangent else f"x{a}_{u} * r"
            lines.append(f"            const vec y{a} = {text};")
        by_harmonic: dict[int, dict[int, list[tuple[str, str | None]]]] = {}
        for (a, b, c), value in plan.coupling(n).items():
            by_harmonic.setdefault(b, {}).setdefault(a, []).append((f"c{c}", number(value)))
        for b, rows in by_harmonic.items():
            text = " + ".join(f"y{a} * ({sum_of(terms)})" for a, terms in rows.items())
            lines.append(f"            g{path.l**2 + b} += {text};")
        lines.append("          }")
    return [*lines, "        }"]
