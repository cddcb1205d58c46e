"""Engines that live in environments of their own: processes that stay alive and are told what to do over pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {
    "shoal": ROOT / ".venv",
    "nequip": ROOT / ".venv-peers" / "nequip",
    "lammps": ROOT / ".venv-peers" / "lammps",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Worker:
    """A script that serves an engine, in its environment and with its number of threads; call it with a request."""

    def __init__(self, environment: str, script: Path, *arguments: str, threads: int) -> None:
        self.name = " ".join(arguments)
        self._process = subprocess.Popen(
            [str(ENVIRONMENTS[environment] / "bin" / "python"), "-W", "ignore", str(script), *arguments],
            env=os.environ | dict.fromkeys(THREADS, str(threads)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, request: str, **arguments: Any) -> Any:
        """What the engine's method of that name returns; RuntimeError if it fails, with its traceback on stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([request, arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()} at {request} {arguments}")
        answer, error = json.loads(line)
        if error:
            raise RuntimeError(f"{self.name}: {request} {arguments}: {error}")
        return answer

    def close(self) -> None:
        """Let the process end, as it does when nothing more can be asked."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(engine: object) -> None:
    """Answer requests for the methods of an engine from standard input until it ends.

    What libraries print goes to standard error, so that standard output carries answers alone.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            request, arguments = json.loads(line)
            answer, error = None, ""
            try:
                answer = getattr(engine, request)(**arguments)
            except Exception as problem:
                traceback.print_exc()
                error = repr(problem)
            print(json.dumps([answer, error]), file=answers, flush=True)
