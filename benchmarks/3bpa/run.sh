#!/usr/bin/env bash
# Train Shoal and NequIP on 3BPA with one configuration, seeds 0 to 2, one thread each, one after the other.
#
#   benchmarks/3bpa/run.sh DATA OUT
#
# DATA is the data set's folder. OUT receives seedN/{train,val,test_*}.xyz, seedN/shoal, seedN/nequip; what is there
# already is left alone. Then: python benchmarks/3bpa/table.py OUT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
data=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
export OMP_NUM_THREADS=1

for SEED in ${SEEDS:-0 1 2}; do
    export SEED FOLDER=$out/seed$SEED
    "$root/.venv/bin/python" "$here/prepare.py" "$data" "$FOLDER" --seed "$SEED"
    SHIFTS=$(tr -d '"' < "$FOLDER/shifts.json")
    export SHIFTS
    if [ ! -f "$FOLDER/shoal/finished" ]; then
        cd "$FOLDER"
        "$root/.venv/bin/shoal" train "$here/shoal.yaml" output="$FOLDER/shoal" overwrite=true \
            model.seed="$SEED" training.seed="$SEED" training.device=cpu \
            reference_energies="$(cat "$FOLDER/shifts.json")" ${SHOAL_EXTRA:-}
        touch "$FOLDER/shoal/finished"
    fi
    if [ ! -f "$FOLDER/nequip/finished" ]; then
        "$root/.venv-peers/nequip/bin/nequip-train" -cp "$here" -cn nequip hydra.run.dir="$FOLDER/nequip" ${NEQUIP_EXTRA:-}
        touch "$FOLDER/nequip/finished"
    fi
done
