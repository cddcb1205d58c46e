#!/usr/bin/env bash
# Time both sides with 2 threads and with 1, one table in results/ each:
#
#   benchmarks/run.sh [evaluate] [md] [relax] [kernels] [compile_time] [limit] [lammps] [train_epochs]
#
# Without names: evaluate, md and relax. What they need of NequIP (data, training and compiling, import and compiling
# here) is built once. train_epochs takes silicon, and 3BPA from the folder of its data set in BPA, if that is set.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
peer=$root/.venv-peers/nequip/bin/python
ours=$root/.venv/bin/python
work=$root/.venv-peers/artefacts
work_l2=$root/.venv-peers/artefacts_l2

build() {
    if [ ! -f "$work/si.nequip.pt2" ]; then
        mkdir -p "$work/data"
        "$ours" "$root/benchmarks/make_silicon_sw.py" "$work/data/si_sw.xyz"
        cp "$root/benchmarks/nequip_si.yaml" "$work/data/"
        "$root/peers/make_nequip_artefacts.sh" "$work/data" "$work"
    fi
    [ -f "$work/si.shoal" ] || "$peer" -m shoal import-nequip "$work/train/best.ckpt" "$work/si.shoal" --trust
    rm -f "$work/si.shoal.pt2" # of an earlier Shoal
    "$root/.venv/bin/shoal" compile "$work/si.shoal" "$work/si.shoal.pt2" --kernel native
}

build_l2() { # the larger model of kernels: l_max 2, three layers
    [ -f "$work_l2/si.nequip.pt2" ] || "$root/peers/make_nequip_artefacts.sh" "$work" "$work_l2" \
        training_module.model.l_max=2 training_module.model.num_layers=3 trainer.max_epochs=3
    [ -f "$work_l2/si.shoal" ] || "$peer" -m shoal import-nequip "$work_l2/train/best.ckpt" "$work_l2/si.shoal" --trust
    rm -f "$work_l2/si.shoal.pt2"
    "$root/.venv/bin/shoal" compile "$work_l2/si.shoal" "$work_l2/si.shoal.pt2" --kernel native
}

kernels() { # THREADS TABLE
    build_l2
    OMP_NUM_THREADS=$1 "$peer" "$root/benchmarks/kernels.py" --title "l_max 1, 2 layers" --nequip "$work/si.nequip.pt2" \
        --compiled "$work/si.shoal.pt2" --threads "$1" --out "$2"
    OMP_NUM_THREADS=$1 "$peer" "$root/benchmarks/kernels.py" --title "l_max 2, 3 layers, parity" --md --cases 1x8 64x8 8x64 \
        --nequip "$work_l2/si.nequip.pt2" --compiled "$work_l2/si.shoal.pt2" --threads "$1" --out "$2"
}

compile_time() { # THREADS TABLE
    [ "$1" = 2 ] || return 0
    build_l2
    "$ours" "$root/benchmarks/compile_time.py" "$work/si.shoal" "$work_l2/si.shoal" --out "$2"
}

limit() { # THREADS TABLE
    build_l2
    "$ours" "$root/benchmarks/limit.py" "$work/si.shoal" "$work_l2/si.shoal" preset:L/3 --threads "$1" --out "$2"
}

lammps() { # THREADS TABLE
    for material in argon silicon; do
        "$ours" "$root/benchmarks/md.py" --material $material --engines compiled lammps --seconds 0.4 --threads "$1" --out "$2"
    done
}

train_epochs() { # THREADS TABLE
    [ "$1" = 2 ] || return 0
    sides=("Shoal, compiled, native" "nequip-train, eager" "nequip-train, compiled")
    "$ours" "$root/benchmarks/train_epochs.py" "$work/si_split" --split "$work/si_sw.xyz" --title silicon \
        --threads "$1" --rounds 9 --sides "${sides[@]}" --out "$2"
    [ -n "${BPA:-}" ] || return 0
    "$ours" "$root/benchmarks/3bpa/prepare.py" "$BPA" "$work/3bpa" --seed 0
    "$ours" "$root/benchmarks/train_epochs.py" "$work/3bpa" --title 3BPA \
        --threads "$1" --rounds 9 --sides "${sides[@]}" --out "$2"
}

evaluate() { # THREADS TABLE
    OMP_NUM_THREADS=$1 "$peer" "$root/benchmarks/evaluate.py" \
        --nequip "$work/si.nequip.pt2" --package "$work/si.shoal" --compiled "$work/si.shoal.pt2" --threads "$1" --out "$2"
}

md() { # THREADS TABLE
    "$ours" "$root/benchmarks/md.py" --threads "$1" --out "$2"
}

relax() { # THREADS TABLE
    "$ours" "$root/benchmarks/relax.py" --nequip "$work/si.nequip.pt2" --threads "$1" --out "$2"
}

build
mkdir -p "$root/benchmarks/results"
for name in ${*:-evaluate md relax}; do
    table=$root/benchmarks/results/$name.md
    printf '# benchmarks/%s.py\n' "${name/lammps/md}" > "$table"
    for threads in 2 1; do
        "$name" "$threads" "$table"
    done
done
