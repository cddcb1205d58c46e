#!/usr/bin/env bash
# Train the small silicon NequIP model and make of it the files the benchmarks time.
#
#   peers/make_nequip_artefacts.sh DATA_DIR OUT_DIR [OVERRIDE ...]
#
# An OVERRIDE changes the yaml for nequip-train, such as training_module.model.l_max=2.
# DATA_DIR holds nequip_si.yaml and si_sw.xyz. OUT_DIR receives a copy of both and
#   train/best.ckpt      the checkpoint of the best epoch
#   si.nequip.zip        the package, for eager use
#   si.nequip.pt2        compiled for batches (torch-sim)
#   si_ase.nequip.pt2    compiled for one structure at a time (ASE)
# The seeds are in the yaml. About two minutes on two cores.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/.venv-peers/nequip/bin
[ -x "$bin/nequip-train" ] || { echo "no NequIP in $bin: run peers/build.sh nequip first" >&2; exit 1; }

data=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
cp -f "$data/nequip_si.yaml" "$data/si_sw.xyz" "$out/"
chmod u+w "$out/nequip_si.yaml" "$out/si_sw.xyz"
export PEER_DIR=$out # the yaml finds its data by this name, and so does the checkpoint made from it

# An older checkpoint would make the trainer write best-v1.ckpt beside it.
rm -rf "$out/train"
cd "$out"
"$bin/nequip-train" -cp "$out" -cn nequip_si hydra.run.dir="$out/train" "${@:3}"

"$bin/nequip-package" build "$out/train/best.ckpt" "$out/si.nequip.zip"

# Threads are fixed in the code when it is compiled. With one, the batch file was the faster, whatever ran it.
compile() {
    OMP_NUM_THREADS=1 "$bin/nequip-compile" "$out/si.nequip.zip" "$out/$2" --mode aotinductor --target "$1" --device cpu
}
compile batch si.nequip.pt2
compile ase si_ase.nequip.pt2
ls -l "$out"/*.nequip.*
