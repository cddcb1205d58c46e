"""What nequip itself gives for made-up weights and systems; run where nequip is installed.

.venv-peers/nequip/bin/python -m tests.architectures.upstream_reference > tests/architectures/upstream_reference.json
"""

import json
import sys
import warnings
from importlib.metadata import version
from typing import Any

import torch
from tests.architectures import upstream
from tests.architectures.upstream_cases import Settings
from tests.architectures.upstream_equality import NEQUIP, Family
from tests.architectures.upstream_systems import systems


def results(family: Family, settings: Settings) -> dict[str, Any]:
    """On the mixed batch, flat, with null for what is no number."""
    config, model = family.config(**settings), family.build(settings)
    upstream.put(model, family.made_up(config))
    found = upstream.predict(model.eval(), systems(len(config.type_names))["mixed batch"])
    size = sum(parameter.numel() for parameter in model.parameters())
    values = {name: _plain(values.detach()) for name, values in found.items()}
    return {"settings": settings, "parameters": size, **values}


def _plain(values: torch.Tensor) -> list[float | None]:
    return [value if value == value else None for value in values.flatten().tolist()]


def main(family: Family = NEQUIP) -> None:
    from nequip.utils.global_state import set_global_state

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    set_global_state()
    package = family.packages[0]
    rows = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(results(family, settings))}" for name, settings in family.committed.items()
    )
    sys.stdout.write(f'{{"{package}": "{version(package)}", "cases": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    main()
