"""What nequip itself gives for made-up weights and systems; run where nequip is installed.

.venv-peers/nequip/bin/python -m tests.architectures.upstream_reference > tests/architectures/upstream_reference.json
"""

import json
import sys
import warnings
from typing import Any

import torch
from tests.architectures import upstream
from tests.architectures.upstream_cases import COMMITTED, Settings
from tests.architectures.upstream_systems import systems
from tests.architectures.upstream_weights import made_up

from shoal.architectures import NequIPConfig


def results(settings: Settings) -> dict[str, Any]:
    """On the mixed batch, flat, with null for what is no number."""
    config, model = NequIPConfig(**settings), upstream.build(settings)
    upstream.put(model, made_up(config))
    found = upstream.predict(model.eval(), systems(len(config.type_names))["mixed batch"])
    size = sum(parameter.numel() for parameter in model.parameters())
    values = {name: _plain(values.detach()) for name, values in found.items()}
    return {"settings": settings, "parameters": size, **values}


def _plain(values: torch.Tensor) -> list[float | None]:
    return [value if value == value else None for value in values.flatten().tolist()]


def main() -> None:
    import nequip
    from nequip.utils.global_state import set_global_state

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    set_global_state()
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(results(settings))}" for name, settings in COMMITTED.items())
    sys.stdout.write(f'{{"nequip": "{nequip.__version__}", "cases": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    main()
