"""Every implementation of the convolution is e3nn's weighted tensor product summed over neighbours."""

from typing import Any

import pytest
import torch
from e3nn import o3

from shoal.nn import CONVOLUTIONS, SCALAR, Channels, Convolution, Edges, Features, Irrep, spherical_harmonics
from shoal.testing import close

N_ATOMS, N_EDGES, N_BASES = 5, 40, 6
EVERY = pytest.mark.parametrize("name", list(CONVOLUTIONS))
EVERY_DEGREE = pytest.mark.parametrize(
    ("name", "l_max"),
    [
        pytest.param(name, l_max, marks=pytest.mark.slow if name == "native" and l_max > 2 else ())
        for name in CONVOLUTIONS
        for l_max in range(5)
    ],
)  # a kernel of all couplings of l_max 4 takes a minute to compile


def inputs(l_max: int, channels: int = 3) -> Channels:
    """Both parities of every degree, each with another number of channels."""
    return {Irrep(l, p): channels + l for l in range(l_max + 1) for p in (1, -1)}


def build(name: str, l_max: int, dtype: torch.dtype = torch.float64) -> Convolution:
    generator = torch.Generator().manual_seed(7)
    return CONVOLUTIONS[name](inputs(l_max), inputs(l_max), l_max, [N_BASES, 8], dtype, generator)


def graph(l_max: int, n_edges: int = N_EDGES) -> tuple[Features, Edges]:
    source = torch.Generator().manual_seed(8)
    features = {
        ir: torch.randn(N_ATOMS, ir.dim, count, generator=source, dtype=torch.float64)
        for ir, count in inputs(l_max).items()
    }
    u = torch.nn.functional.normalize(torch.randn(n_edges, 3, generator=source, dtype=torch.float64), dim=1)
    centre, neighbor = torch.randint(0, N_ATOMS, (2, n_edges), generator=source)
    radial = torch.randn(n_edges, N_BASES, generator=source, dtype=torch.float64)
    return features, Edges(centre, neighbor, radial, spherical_harmonics(u, l_max), N_ATOMS)


@EVERY_DEGREE
def test_equal_e3nn(name: str, l_max: int, in_float64: Any) -> None:
    convolution = build(name, l_max)
    features, edges = graph(l_max)
    sources = list(inputs(l_max))
    slots = [(path.channels, (path.target.l, path.target.parity)) for path in convolution.paths]
    with in_float64():
        product = o3.TensorProduct(
            "+".join(f"{count}x{ir}" for ir, count in inputs(l_max).items()),
            o3.Irreps.spherical_harmonics(l_max),
            o3.Irreps(slots),
            [(sources.index(path.source), path.l, k, "uvu", True) for k, path in enumerate(convolution.paths)],
            shared_weights=False,
            internal_weights=False,
        )
    flat = torch.cat([x.mT.flatten(1) for x in features.values()], dim=1)
    messages = product(flat[edges.source], edges.harmonics, convolution.radial(edges.radial))
    summed = torch.zeros(N_ATOMS, messages.shape[1], dtype=torch.float64).index_add(0, edges.centre, messages)
    blocks = summed.split([count * (2 * l + 1) for count, (l, _) in slots], dim=1)
    out = convolution(features, edges)
    for target in convolution.outputs:
        expected = torch.cat(
            [
                block.unflatten(1, (path.channels, target.dim)).mT
                for path, block in zip(convolution.paths, blocks, strict=True)
                if path.target == target
            ],
            dim=2,
        )
        assert out[target].shape[2] == convolution.outputs[target]
        close(out[target], expected, 1e-12)


@EVERY
def test_edges_without_radial_weight_add_nothing(name: str) -> None:
    convolution = build(name, 2)
    features, edges = graph(2)
    kept = torch.arange(N_EDGES) < 25
    silenced = edges._replace(radial=edges.radial * kept[:, None])
    cut = Edges(edges.centre[kept], edges.source[kept], edges.radial[kept], edges.harmonics[kept], N_ATOMS)
    for target, values in convolution(features, silenced).items():
        close(values, convolution(features, cut)[target], 1e-13)


@EVERY
def test_no_edges(name: str) -> None:
    convolution = build(name, 2)
    for target, values in convolution(*graph(2, n_edges=0)).items():
        assert torch.equal(values, torch.zeros(N_ATOMS, target.dim, convolution.outputs[target], dtype=torch.float64))


@EVERY
def test_gradients_up_to_second_order(name: str) -> None:
    convolution = build(name, 1)
    features, edges = graph(1, n_edges=4)

    def scalar(x: torch.Tensor, radial: torch.Tensor, harmonics: torch.Tensor) -> torch.Tensor:
        moved = edges._replace(radial=radial, harmonics=harmonics)
        return sum(values.sum(dim=(1, 2)) for values in convolution({**features, SCALAR: x}, moved).values())

    arguments = tuple(t.clone().requires_grad_() for t in (features[SCALAR], edges.radial, edges.harmonics))
    assert torch.autograd.gradcheck(scalar, arguments)
    assert torch.autograd.gradgradcheck(scalar, arguments)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "reference"])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_members_share_parameters_and_results(name: str, dtype: torch.dtype, tol: float) -> None:
    reference, member = build("reference", 2, dtype), build(name, 2, dtype)
    member.load_state_dict(reference.state_dict())
    features, edges = graph(2)
    features = {irrep: x.to(dtype) for irrep, x in features.items()}
    edges = edges._replace(radial=edges.radial.to(dtype), harmonics=edges.harmonics.to(dtype))
    for target, values in member(features, edges).items():
        close(values, reference(features, edges)[target], tol)
