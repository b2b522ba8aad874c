#!/usr/bin/env bash
# Puts the UCI handwritten digits (1797 images of 8x8) at target/digits-data/digits.csv, for
# training the model of examples/digits. Does nothing if the file is there and is the right one.
#
# The file is taken out of the scikit-learn wheel (whichever version suits this Python: nothing is
# installed), and compared with the digest below, whatever the version.
#
# Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
# Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=target/digits-data
csv=$folder/digits.csv
sha256=6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8

say() { printf 'fetch-digits: %s\n' "$*" >&2; }

if ! command -v python3 >/dev/null; then
    say "python3 is needed to download and unpack the data, and is not on the PATH"
    exit 1
fi

is_right() {
    [ -f "$csv" ] && python3 - "$csv" "$sha256" <<'PYTHON'
import hashlib
import sys

with open(sys.argv[1], "rb") as file:
    sys.exit(hashlib.sha256(file.read()).hexdigest() != sys.argv[2])
PYTHON
}

if is_right; then
    say "$csv is there"
    exit 0
fi

if ! python3 -m pip --version >/dev/null 2>&1; then
    say "pip is needed for the download (python3 -m pip); install it, for example with"
    say "    python3 -m ensurepip --user    or    apt-get install python3-pip"
    exit 1
fi

mkdir -p "$folder"
wheel_folder=$(mktemp -d "$folder/wheel.XXXXXX")
trap 'rm -rf "$wheel_folder"' EXIT

say "downloading the scikit-learn wheel (about 10 MB)"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$wheel_folder" scikit-learn

python3 - "$wheel_folder" "$csv" <<'PYTHON'
import gzip
import pathlib
import sys
import zipfile

folder, csv = map(pathlib.Path, sys.argv[1:])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    packed = archive.read("sklearn/datasets/data/digits.csv.gz")
csv.write_bytes(gzip.decompress(packed))
PYTHON

if ! is_right; then
    say "$csv is not the file expected (sha256 $sha256)"
    exit 1
fi
say "wrote $csv"
