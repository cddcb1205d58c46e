"""The costly part of a training step as one compiled graph: atomic energies and their gradient in the edge vectors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import fx
from torch.func import functional_call

from shoal.architectures import AtomicEnergyModel
from shoal.cache import inductor_cache
from shoal.deploy.trace import example_edges
from shoal.potentials._derivatives import quantities
from shoal.training.batches import Batch
from shoal.training.form import Form
from shoal.training.predict import predict


class CompiledPredict:
    """`predict` of a model with its two passes compiled, differentiable in the weights, for any numbers but 0 and 1.

    The gradient is written into the graph first (make_fx), because torch.compile cannot take one and differentiate it
    again. Sums over systems stay outside, so that their number is free. Takes about a minute to make; whatever torch
    raises when it cannot compile passes through.
    """

    def __init__(
        self, model: AtomicEnergyModel, architecture: str, device: torch.device, form: Form | None = None
    ) -> None:
        self.model = model.to(device)
        self.names = [name for name, _ in model.named_parameters()]
        form = form or Form()
        if form.convolution == "reference":
            form = replace(form, convolution="inductor")
        fast = form.of(model, architecture, device)

        def energies_and_gradient(
            weights: list[torch.Tensor], edge_vectors: torch.Tensor, edge_index: torch.Tensor, atom_types: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            vectors = edge_vectors.detach().requires_grad_(True)
            named = dict(zip(self.names, weights, strict=True))
            atomic = functional_call(fast, named, (vectors, edge_index, atom_types))
            (gradient,) = torch.autograd.grad(atomic.sum(), vectors, create_graph=True)
            return atomic, gradient

        from torch.fx.experimental.proxy_tensor import make_fx

        with inductor_cache(), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            weights = self._weights(None)
            example = weights, *example_edges(model.config, device)
            graph = make_fx(energies_and_gradient, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*example)
            _attach(graph)
            self.graph = torch.compile(graph, dynamic=True)
            atomic, gradient = self.graph(*example)
            torch.autograd.grad(atomic.sum() + gradient.square().sum(), weights, allow_unused=True)

    def __call__(
        self, batch: Batch, weights: Mapping[str, torch.Tensor] | None = None, *, create_graph: bool = False
    ) -> dict[str, torch.Tensor]:
        """As `predict`; batches too small for the graph go the plain way."""
        if min(len(batch.atom_types), len(batch.edge_vectors)) < 2:
            return predict(self.model, batch, weights, create_graph=create_graph)
        with torch.enable_grad():  # also where no gradient is asked for: the graph is made for it
            inputs = batch.edge_vectors, batch.edge_index, batch.atom_types
            atomic, gradient = self.graph(self._weights(weights), *inputs)
        if not create_graph:
            atomic, gradient = atomic.detach(), gradient.detach()
        index = batch.edge_index, batch.system_index
        return quantities(atomic, batch.edge_vectors, gradient, *index, batch.cell, strain=batch.wants_stress)

    def _weights(self, weights: Mapping[str, torch.Tensor] | None) -> list[torch.Tensor]:
        """Aliases of the model's weights or of others: the graph holds for any tensors, not for any parameters."""
        own = dict(self.model.named_parameters())
        chosen = own if weights is None else {name: weights[name].detach().requires_grad_() for name in self.names}
        return [chosen[name].view_as(chosen[name]) for name in self.names]


def _attach(graph: fx.GraphModule) -> None:
    """Take out the `detach` that tracing puts behind what a derivative keeps of an operator's result.

    Left in, sigmoid, tanh and roots would be constants where the gradient is differentiated again. A model's own
    `detach` goes too, so that it may stand only before what has no derivative, as rounding has none.
    """
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.detach.default):
        node.replace_all_uses_with(node.args[0])
        graph.graph.erase_node(node)
    graph.recompile()
