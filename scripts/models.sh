#!/usr/bin/env bash
# Everything that docs/BENCHMARKS.md says of real models, in one run: fetches and exports the models
# into target/models (git-ignored; nothing is done twice), then compiles, times and audits them beside
# tract and ONNX Runtime, and draws how cost grows with size. About an hour on two cores; `quick` takes
# a few minutes and measures less.
#
#   scripts/models.sh [quick] [MODEL..] [compile|speed|audit|shapes|growth]..
set -euo pipefail

cd "$(dirname "$0")/.."
scripts/fetch-models.sh >/dev/null
scripts/export-models.sh >/dev/null
# ONNX Runtime lives in the virtual environment that fetch-models.sh makes.
export NOMOPOLY_PYTHON="${NOMOPOLY_PYTHON:-$PWD/target/models/venv/bin/python}"
exec cargo bench --workspace --features nomopoly-build/cli --bench models -- "$@"
