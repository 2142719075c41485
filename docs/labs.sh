#!/usr/bin/env bash
# Runs every lab that needs no trained network and writes docs/labs.md: each document's numbers beside ours.
#
#   bash docs/labs.sh DATA_DIR        (a folder with the four MNIST files, or with a folder mnist/ of them)
set -euo pipefail
data=${1:?"usage: bash docs/labs.sh DATA_DIR"}
cd "$(dirname "$0")/.."
cargo build --release --quiet --package gradus-cli
gradus=target/release/gradus
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
page=$(mktemp)
{
    echo "# The labs"
    echo
    echo "What the documents report, and what comes out here. Written by \`bash docs/labs.sh DATA_DIR\`; each section by"
    echo "\`GRADUS_DATA=DATA_DIR gradus lab NAME\`. \"Within\" and \"tolerance\" mean the spread over seeds that the recipe states."
    "$gradus" list labs --json | grep -o '"name": *"[^"]*"' | cut -d'"' -f4 | while read -r lab; do
        # These need a network's weights, and hours on two cores.
        case $lab in mobilenet-*) continue ;; esac
        echo
        GRADUS_DATA=$data "$gradus" lab "$lab" --out "$runs" --markdown --quiet
    done
} >"$page"
mv "$page" docs/labs.md
chmod 644 docs/labs.md
