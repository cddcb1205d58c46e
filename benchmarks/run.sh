#!/usr/bin/env bash
# Build NequIP's side once (data, training, compiling) and time both sides with 2 threads and with 1.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/.venv-peers/nequip/bin/python
work=$root/.venv-peers/artefacts
if [ ! -f "$work/si.nequip.pt2" ]; then
    mkdir -p "$work/data"
    "$root/.venv/bin/python" "$root/benchmarks/make_silicon_sw.py" "$work/data/si_sw.xyz"
    cp "$root/benchmarks/nequip_si.yaml" "$work/data/"
    "$root/peers/make_nequip_artefacts.sh" "$work/data" "$work"
fi
table=$root/benchmarks/results/evaluate.md
mkdir -p "$root/benchmarks/results"
printf '# benchmarks/evaluate.py\n' > "$table"
for threads in 2 1; do
    OMP_NUM_THREADS=$threads "$python" "$root/benchmarks/evaluate.py" \
        --nequip "$work/si.nequip.pt2" --threads "$threads" --out "$table"
done
