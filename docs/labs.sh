#!/usr/bin/env bash
# Runs labs and writes pages of them: each document's numbers beside ours.
#
#   bash docs/labs.sh DATA_DIR            docs/labs.md: every lab that needs no trained network
#   bash docs/labs.sh DATA_DIR images     docs/labs-images.md: those on MobileNetV2's weights, which take a quarter of an hour on two fast cores
#
# DATA_DIR has the four MNIST files or a folder mnist/ of them; for the second page also the folders mobilenetv2/ and cifar10/.
set -euo pipefail
usage="usage: bash docs/labs.sh DATA_DIR [images]"
data=${1:?"$usage"}
case ${2:-} in
'') title="The labs" page=docs/labs.md command="bash docs/labs.sh DATA_DIR" ;;
images) title="The labs on MobileNetV2" page=docs/labs-images.md command="bash docs/labs.sh DATA_DIR images" ;;
*) echo "$usage" >&2 && exit 2 ;;
esac
cd "$(dirname "$0")/.."
cargo build --release --quiet --package gradus-cli
gradus=target/release/gradus
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
new=$(mktemp)
{
    echo "# $title"
    echo
    echo "What the documents report, and what comes out here. Written by \`$command\`; each section by"
    echo "\`GRADUS_DATA=DATA_DIR gradus lab NAME\`. \"Within\" and \"tolerance\" mean the spread over seeds that the recipe states."
    "$gradus" list labs --json | grep -o '"name": *"[^"]*"' | cut -d'"' -f4 | while read -r lab; do
        case $lab in mobilenet-*) is=docs/labs-images.md ;; *) is=docs/labs.md ;; esac
        if [ "$is" != "$page" ]; then continue; fi
        echo
        GRADUS_DATA=$data "$gradus" lab "$lab" --out "$runs" --markdown --quiet
    done
} >"$new"
mv "$new" "$page"
chmod 644 "$page"
