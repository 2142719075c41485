#!/usr/bin/env bash
# Measures gradus beside PyTorch, NumPy, Keras, gemm, matrixmultiply, faer, burn and candle, and writes the table of
# docs/performance.md. Needs python3 with venv, a Rust toolchain and the network, some 5 GB of disk under target/peers,
# and an otherwise idle machine; the first run builds for a quarter of an hour, the comparison takes about two hours.
#
#   bash benches/peers/run.sh                               everything, five rounds
#   bash benches/peers/run.sh --quick --sections gemm       a look at one part, beside PyTorch alone
#   bash benches/peers/run.sh --sections conv networks      convolutions and networks of them: PyTorch, TensorFlow and Keras
#   bash benches/peers/run.sh --rounds 9
#
# What is there already need not be installed again:
#   PEERS_TORCH_PYTHON, PEERS_KERAS_PYTHON   Pythons with torch and numpy, and with keras and tensorflow-cpu
#   PEERS_RUST_BIN                           the folder with the binaries of benches/peers/rust
#   PEERS_DATA                               the folder with Fashion-MNIST's four files, unpacked
#   PEERS_GRADUS                             our binary
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/peers
mkdir -p "$work"

quick=false
for option in "$@"; do
    if [ "$option" = --quick ]; then quick=true; fi
done

python_with() { # folder, packages
    if [ ! -x "$work/$1/bin/python" ]; then
        python3 -m venv "$work/$1"
        "$work/$1/bin/pip" install --quiet "${@:2}"
    fi
    echo "$work/$1/bin/python"
}

torch=${PEERS_TORCH_PYTHON:-$(python_with torch torch==2.15.0 numpy==2.4.6)}
keras=${PEERS_KERAS_PYTHON:-}
rust=${PEERS_RUST_BIN:-}
if [ -z "$keras" ]; then
    if $quick; then keras=none; else keras=$(python_with keras tensorflow-cpu==2.21.0 keras==3.15.1); fi
fi
if [ -z "$rust" ]; then
    (cd "$here/rust" && CARGO_TARGET_DIR="$work/rust" cargo build --release --quiet)
    rust=$work/rust/release
fi
data=${PEERS_DATA:-}
if [ -z "$data" ]; then
    data=$work/fashion-mnist
    mkdir -p "$data"
    for file in "$root"/cli/data/fashion-mnist/*.gz; do
        gzip -dc "$file" >"$data/$(basename "$file" .gz)"
    done
fi
gradus=${PEERS_GRADUS:-}
if [ -z "$gradus" ]; then
    (cd "$root" && cargo build --release --quiet --package gradus-cli)
    gradus=$root/target/release/gradus
fi

exec "$torch" "$here/compare.py" --gradus "$gradus" --torch "$torch" --keras "$keras" --rust "$rust" \
    --data "$data" --work "$work" --results "$work/figures.jsonl" "$@"
