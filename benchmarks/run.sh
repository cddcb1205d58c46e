#!/usr/bin/env bash
# Build both sides once (data, NequIP's training and compiling, import and compiling here) and time both sides with 2 threads and with 1.
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
if [ ! -f "$work/si.shoal.pt2" ]; then
    "$python" -m shoal import-nequip "$work/train/best.ckpt" "$work/si.shoal" --trust
    "$root/.venv/bin/shoal" compile "$work/si.shoal" "$work/si.shoal.pt2"
fi
table=$root/benchmarks/results/evaluate.md
mkdir -p "$root/benchmarks/results"
printf '# benchmarks/evaluate.py\n' > "$table"
for threads in 2 1; do
    OMP_NUM_THREADS=$threads "$python" "$root/benchmarks/evaluate.py" \
        --nequip "$work/si.nequip.pt2" --package "$work/si.shoal" --compiled "$work/si.shoal.pt2" --threads "$threads" --out "$table"
done
