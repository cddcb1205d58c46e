"""Let torch-sim 0.6, written for Python 3.12, run on Python 3.11.

Usage: python peers/torch_sim_on_311.py FOLDER_OF_TORCH_SIM

All it needs of 3.12 is the bracketed type parameter (PEP 695), `def f[T: Bound](...)`. At run time the
parameter is only a name in annotations, so one plain `TypeVar` per module says the same. No computation
changes. A module already rewritten is left as it is.
"""

import ast
import re
import sys
from pathlib import Path

TYPE_PARAMETER = r"\[T: [^\]]+\]"
GENERIC_FUNCTION = re.compile(rf"^(\s*def \w+){TYPE_PARAMETER}(?=\()", re.MULTILINE)
GENERIC_CLASS = re.compile(rf"^(class \w+){TYPE_PARAMETER}(?=:)", re.MULTILINE)
DECLARATION = 'import typing\n\nT = typing.TypeVar("T")\n\n\n'


def rewrite(source: str) -> str:
    """Return the module's text without type parameters; SyntaxError if 3.11 still cannot read it."""
    plain = GENERIC_FUNCTION.sub(r"\1", source)
    plain = GENERIC_CLASS.sub(r"\1(typing.Generic[T])", plain)
    module = ast.parse(plain)
    return plain if plain == source else declare_before_first_definition(plain, module)


def declare_before_first_definition(source: str, module: ast.Module) -> str:
    """Insert the `TypeVar` after the imports, ahead of the first function or class and its decorators."""
    first = next(node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    line = min(node.lineno for node in [first, *first.decorator_list]) - 1
    lines = source.splitlines(keepends=True)
    return "".join([*lines[:line], DECLARATION, *lines[line:]])


def main(folder: Path) -> None:
    modules = sorted(folder.rglob("*.py"))
    if not modules:
        sys.exit(f"no Python files under {folder}")
    for path in modules:
        source = path.read_text(encoding="utf-8")
        rewritten = rewrite(source)
        if rewritten != source:
            path.write_text(rewritten, encoding="utf-8")
            print(f"rewritten for Python 3.11: {path.name}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
