#!/usr/bin/env bash
# For a machine with an NVIDIA GPU: the tests of the CUDA backend on the hardware, then what it reaches, then two trainings beside the
# processor. Send the output back with the issue form, or as it is.
#
#   bash benches/cuda-on-hardware.sh | tee cuda-on-hardware.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset GRADUS_EMULATE_CUDA

echo "# gradus $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)"
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader || echo "nvidia-smi is not here"
cargo run --locked --release --quiet -- device

echo; echo "# tests"
GRADUS_CUDA_HARDWARE=1 cargo test --locked --release --test cuda -- --test-threads 1

echo; echo "# kernels"
cargo bench --locked --quiet --bench cuda

echo; echo "# training"
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
for device in cuda:0 cpu; do
    for recipe in fashion-bn cnn-fashion; do
        cargo run --locked --release --quiet -- train "$recipe" --epochs 1 --device "$device" --out "$runs" --json |
            sed -nE "s/.*\"samples_per_second\": ?([0-9.]+).*/$recipe on $device: \1 samples a second/p" | head -n 1
    done
done
