#!/usr/bin/env bash
# Takes the records of a GPU in under nine minutes, from a source tree and the Python that is there: no network, no venv.
#
#   benchmarks/gpu.sh --fetch    on a machine with network: packages that the other may lack, as wheels into wheels/, a few MB
#   benchmarks/gpu.sh            on the machine with the GPU, whose Python has PyTorch, torchvision and JAX
#   PLATFORM=cpu QUICK=1 benchmarks/gpu.sh    a trial without a GPU, in minutes
#
# Variables: OUT, a folder for the records and log.txt (benchmarks/results otherwise; a trial: a temporary folder);
# JAXLENS_COMMIT, the commit, where the tree comes without .git; PYTHON; WHEELS; PYTHON_VERSION of the other machine, for --fetch;
# BUDGET, seconds for all.
#
# Carried along: the tree and wheels/. Wheels are installed beside the machine's packages, and only those that it lacks or has in
# an older version. What fails does not stop the rest (benchmarks/suite.py); the closing lines say which ran.
set -uo pipefail
cd "$(dirname "$0")/.."
WHEELS=${WHEELS:-wheels}

if [[ ${1:-} == --fetch ]]; then
    # torch-lucent and what it imports; what jaxlens needs. IPython is what Lucent shows pictures with.
    packages=(
        torch-lucent==0.1.8 kornia==0.4.1 ipython decorator traitlets matplotlib-inline stack-data executing asttokens pure-eval
        jedi parso pexpect ptyprocess prompt-toolkit wcwidth pygments ipython-pygments-lexers
        flax optax jaxtyping wadler-lindig safetensors platformdirs tqdm click filelock
    )
    platforms=(manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64)
    pip=$(command -v pip || echo "${PYTHON:-python3} -m pip")
    $pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version "${PYTHON_VERSION:-3.12}" \
        "${platforms[@]/#/--platform=}" --dest "$WHEELS" "${packages[@]}"
    code=$?
    du -sh "$WHEELS"
    exit $code
fi

PYTHON=${PYTHON:-python3}
PLATFORM=${PLATFORM:-gpu}
if [[ -z ${OUT:-} && ( $PLATFORM == cpu || -n ${QUICK:-} ) ]]; then
    OUT=$(mktemp -d)
fi
if [[ -n ${OUT:-} ]]; then
    mkdir -p "$OUT/results"
    export JAXLENS_BENCH_RESULTS=$OUT/results
    exec > >(tee "$OUT/log.txt") 2>&1
fi

if [[ -n ${QUICK:-} ]]; then
    export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} # trials may share the machine (see benchmarks/render_vs_torch.py)
fi

site=$(mktemp -d)
missing=$("$PYTHON" - "$WHEELS" <<'EOF'
import pathlib, sys
from importlib import metadata

def numbers(version):
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]

for wheel in sorted(pathlib.Path(sys.argv[1]).glob("*.whl")):
    name, version = wheel.name.split("-")[:2]
    try:
        old = numbers(metadata.version(name.replace("_", "-"))) < numbers(version)
    except metadata.PackageNotFoundError:
        old = True
    if old:
        print(wheel)
EOF
)
if [[ -n $missing ]]; then
    echo "from wheels:" $missing
    # shellcheck disable=SC2086
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" $missing
fi
export PYTHONPATH=$site:$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export JAX_PLATFORMS=${JAX_PLATFORMS:-$([[ $PLATFORM == gpu ]] && echo cuda,cpu || echo cpu)}
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.45} # PyTorch needs memory beside JAX
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$site/compiled} # benchmarks share programs

"$PYTHON" - <<'EOF'
import sys
from importlib import metadata

print("python", sys.version.split()[0])
for name in ("torch", "torchvision", "triton", "torch-lucent", "kornia", "jax", "jaxlib", "flax", "optax", "numpy"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        print(name, "is MISSING")
import torch
import jax

print("torch sees", torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
print("jax sees", jax.devices())
EOF

"$PYTHON" -m benchmarks.suite gpu ${QUICK:+--quick} --budget "${BUDGET:-510}"
code=$?
echo "records: ${JAXLENS_BENCH_RESULTS:-benchmarks/results}"
ls -l "${JAXLENS_BENCH_RESULTS:-benchmarks/results}"
exit $code
