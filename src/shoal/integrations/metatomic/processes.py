"""Python programs that need a process of their own."""

from __future__ import annotations

import subprocess
import sys

from shoal.errors import CompileError


def run_python(failure: str, *arguments: str) -> None:
    """Without the modules of the current folder. Raises CompileError: `failure`, and what the program said last."""
    done = subprocess.run([sys.executable, "-P", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise CompileError(f"{failure}: {lines[-1] if lines else 'no message'}; no file was written")
