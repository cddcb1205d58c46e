"""Which kind of model file a path is, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from shoal.errors import ModelFileError

Kind = Literal["package", "aotinductor", "torchscript", "checkpoint", "nequip_aotinductor", "nequip_torchscript"]
ENDINGS: dict[str, Kind] = {
    ".shoal.pt2": "aotinductor",
    ".shoal.pth": "torchscript",
    ".nequip.pt2": "nequip_aotinductor",
    ".nequip.pth": "nequip_torchscript",
    ".shoal": "package",
    ".ckpt": "checkpoint",
}


def model_kind(path: str | Path) -> Kind:
    """The kind of a model file. Raises ModelFileError if it is missing or has an ending Shoal does not know."""
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    for ending, kind in ENDINGS.items():
        if path.name.endswith(ending):
            return kind
    if path.name.endswith(".nequip.zip"):
        raise ModelFileError(
            f"{path}: a NequIP package holds code, which Shoal does not run; make a package of it where nequip is "
            f"installed: shoal import-nequip {path} OUT.shoal --trust"
        )
    raise ModelFileError(
        f"{path}: unknown kind of model file; Shoal opens {', '.join('*' + e for e in ENDINGS)}; rename it if it is one"
    )
