"""What is wrong with the labels of an output, by the numbered rules of the contract.

N atoms, S systems. Independent of what builds outputs: it knows the table of quantities, own layouts and
metatensor, no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from shoal.contract import GRADIENTS, Capabilities, OutputRequest, Standard, standard
from shoal.errors import UnsupportedRequestError

if TYPE_CHECKING:
    from metatensor.torch import Labels, TensorBlock, TensorMap


class Fault(NamedTuple):
    """A rule (R1 ... S8, or "values") and how an output breaks it."""

    rule: str
    text: str


def check_labels(
    outputs: Mapping[str, TensorMap],
    requests: Mapping[str, OutputRequest],
    sizes: Sequence[int],
    selected_atoms: Labels | None = None,
    capabilities: Capabilities | None = None,
) -> list[Fault]:
    """Every way in which outputs break the contract for these requests; none if they keep it.

    `sizes`: atoms of each system. `selected_atoms`: as they were given to the model, None for all. `capabilities` hold
    the layouts of quantities of the model's own; without one these are judged by their keys and samples.
    """
    faults = [Fault("R1", f"{name} was requested and is not there") for name in requests if name not in outputs]
    faults += [Fault("R1", f"{name} was not requested") for name in outputs if name not in requests]
    selected = None if selected_atoms is None else selected_atoms.values.tolist()
    for name, request in requests.items():
        if name in outputs:
            found = _of_one(row_of(name, capabilities), outputs[name], request, sizes, selected)
            faults += [Fault(rule, f"{name}: {text}") for rule, text in found]
    return faults


def _of_one(
    quantity: Standard | None,
    output: TensorMap,
    request: OutputRequest,
    sizes: Sequence[int],
    selected: list[list[int]] | None,
) -> list[Fault]:
    faults = []
    keys = output.keys
    if list(keys.names) != ["_"] or keys.values.tolist() != [[0]]:
        faults.append(Fault("R1", f"its keys are {keys.names} = {keys.values.tolist()}, not ['_'] = [[0]]"))
    if len(keys) != 1:
        return [*faults, Fault("R1", f"it has {len(keys)} blocks, not one")]
    block = output.block(0)
    if quantity is not None:
        faults += _components_and_properties(block, quantity)
    samples = _samples(block, request, sizes, selected)
    faults += samples
    if not torch.isfinite(block.values).all():
        faults.append(Fault("values", "values are not finite"))
    faults += _gradients(block, request, quantity, sizes, bool(samples))
    return faults


def row_of(name: str, capabilities: Capabilities | None = None) -> Standard | None:
    """Its row in the table or in the capabilities; None for a name of the model's own without a layout."""
    try:
        return standard(name) if capabilities is None else capabilities.row(name)
    except UnsupportedRequestError:
        return None


def _components_and_properties(block: TensorBlock, quantity: Standard) -> list[Fault]:
    faults = _components(block, quantity.components, "R5")
    properties = block.properties
    if list(properties.names) != [quantity.property] and quantity.properties != "free":
        faults.append(Fault("R6", f"its properties are {properties.names}, not ['{quantity.property}']"))
    one = quantity.properties == "one"
    if one and properties.values.tolist() != [[0]]:
        faults.append(Fault("R6", f"its properties are {properties.values.tolist()}, not [[0]]"))
    if not one and properties.values[:, 0].tolist() != list(range(len(properties))):
        faults.append(Fault("R6", "its properties are not 0, 1, ..."))
    return faults


def _components(block: TensorBlock, names: Sequence[str], rule: str) -> list[Fault]:
    found = [list(axis.names) for axis in block.components]
    if found != [[name] for name in names]:
        return [Fault(rule, f"its components are {found}, not {[[name] for name in names]}")]
    if any(axis.values.tolist() != [[0], [1], [2]] for axis in block.components):
        return [Fault(rule, "a component does not run over 0, 1, 2")]
    return []


def _samples(
    block: TensorBlock, request: OutputRequest, sizes: Sequence[int], selected: list[list[int]] | None
) -> list[Fault]:
    per_atom = request.sample_kind == "atom"
    names, rows = list(block.samples.names), block.samples.values.tolist()
    expected_names = ["system", "atom"] if per_atom else ["system"]
    if names != expected_names:
        return [Fault("R2", f"its samples are {names}, not {expected_names}")]
    every = (
        [[s, a] for s, size in enumerate(sizes) for a in range(size)] if per_atom else [[s] for s in range(len(sizes))]
    )
    expected = selected if per_atom and selected is not None else every
    outside = _first_absent(rows, every)
    if outside:
        return [Fault("R3", f"sample {outside} does not exist")]
    if len(set(map(tuple, rows))) < len(rows):
        return [Fault("R3", "a sample occurs twice")]
    unselected = _first_absent(rows, expected)
    if unselected:
        return [Fault("R4", f"sample {unselected} was not selected")]
    missing = _first_absent(expected, rows)
    if missing:
        rule = "S1" if not per_atom and selected is not None else "R3" if selected is None else "R4"
        return [Fault(rule, f"sample {missing} is missing")]
    if rows != expected:
        return [Fault("S1", "its samples are in another order")]
    return []


def _first_absent(rows: list[list[int]], table: list[list[int]]) -> list[int] | None:
    """The first of the rows that a table does not hold."""
    held = set(map(tuple, table))
    return next((row for row in rows if tuple(row) not in held), None)


def _gradients(
    block: TensorBlock, request: OutputRequest, quantity: Standard | None, sizes: Sequence[int], broken: bool
) -> list[Fault]:
    faults = []
    there = block.gradients_list()
    rules = {"positions": "R7", "strain": "R8"}
    for name in request.explicit_gradients:
        if name not in there:
            faults.append(Fault(rules.get(name, "S8"), f"its {name} gradient was requested and is not there"))
    for name in there:
        if name not in request.explicit_gradients:
            faults.append(Fault("S8", f"its {name} gradient was not requested"))
        elif name in GRADIENTS:
            gradient, rule = block.gradient(name), rules[name]
            layout = GRADIENTS[name]
            own = quantity.components if quantity is not None else ()
            found = _components(gradient, (*layout.components, *own), rule)
            if list(gradient.samples.names) != list(layout.samples):
                found.append(Fault(rule, f"its samples are {gradient.samples.names}, not {list(layout.samples)}"))
            elif not broken:
                found += _gradient_rows(name, gradient, block, request, sizes, rule)
            if gradient.properties != block.properties:
                found.append(Fault("R9", "its properties are not those of the values"))
            if (gradient.values.dtype, gradient.values.device) != (block.values.dtype, block.values.device):
                found.append(Fault("R9", "its dtype or device is not that of the values"))
            if not torch.isfinite(gradient.values).all():
                found.append(Fault("values", "values are not finite"))
            faults += [Fault(rule, f"{name} gradient: {text}") for rule, text in found]
    return faults


def _gradient_rows(
    name: str, gradient: TensorBlock, block: TensorBlock, request: OutputRequest, sizes: Sequence[int], rule: str
) -> list[Fault]:
    rows, values = gradient.samples.values.tolist(), block.samples.values.tolist()
    if name == "strain":
        every = [[k] for k in range(len(values))]
    else:
        every = [[k, row[0], a] for k, row in enumerate(values) for a in range(sizes[row[0]])]
    outside = _first_absent(rows, every)
    if outside:
        return [Fault(rule, f"its row {outside} does not exist, or joins two systems")]
    if len(set(map(tuple, rows))) < len(rows):
        return [Fault(rule, "a row occurs twice")]
    if len(rows) < len(every) and (name == "strain" or request.sample_kind == "system"):
        return [Fault("S4" if name == "positions" else rule, f"its row {_first_absent(every, rows)} is missing")]
    return [] if rows == sorted(rows) else [Fault("S4", "its rows do not ascend")]
