"""The benchmark of the contract compares sides that compute the same thing."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "contract.py"


def test_sides_agree_and_the_tables_are_written(tmp_path: Path) -> None:
    out = tmp_path / "contract.md"
    sizes = ["--rounds", "2", "--faces", "1x8", "--atoms", "1x8", "--committee", "1x8"]
    run = subprocess.run([sys.executable, SCRIPT, *sizes, "--out", out], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    text = out.read_text()
    for title in ("Labelled over native", "Gradients per atom over one gradient per system", "A committee of 4 over 4"):
        assert title in text
    assert len(re.findall(r"^\| (?:NequIP|Stillinger-Weber), 1x8 ", text, re.MULTILINE)) == 4
    found = re.findall(r"faces (\S+), per atom (\S+);", text)
    assert len(found) == 2
    for faces, atoms in found:
        assert float(faces) <= 1e-12
        assert float(atoms) <= 5e-5
    (committee,) = re.findall(r" committee (\S+)\.$", text, re.MULTILINE)
    assert float(committee) <= 5e-5
