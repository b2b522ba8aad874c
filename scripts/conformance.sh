#!/usr/bin/env bash
# The ONNX conformance check: the backend node tests of the `onnx` package for the kinds that have
# artefacts, through the command that users run, and every exported file under onnx.checker and
# ONNX Runtime. Makes its own virtual environment in a git-ignored folder.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/conformance/venv
if [ ! -x "$venv/bin/python" ]; then
    command -v python3 >/dev/null || { echo "conformance needs python3 (apt-get install python3 python3-venv)" >&2; exit 1; }
    python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'onnx==1.23.2' 'onnxruntime==1.32.0' 'numpy==2.4.6'

cargo build --quiet --features nomopoly-build/cli --bin cargo-nomopoly
"$venv/bin/python" tests/conformance/backend_node_tests.py target/debug/cargo-nomopoly target/conformance/nodes
"$venv/bin/python" tests/conformance/check_exports.py target/conformance/nodes/ops

# The whole audit of the digits, with honest runs of ONNX Runtime: what hosts try must all be refused.
audit=target/conformance/audit
digits=examples/digits/models/digits.onnx
target/debug/cargo-nomopoly nomopoly --quiet compile "$digits" --registry "$audit/ops" >/dev/null
target/debug/cargo-nomopoly nomopoly --quiet audit "$digits" --registry "$audit/ops" --out "$audit" \
    --samples 400 --no-baseline --python "$venv/bin/python" >/dev/null
"$venv/bin/python" tests/conformance/check_audit.py "$audit/audit.json" "$audit/ops/audits"
NOMOPOLY_PYTHON="$PWD/$venv/bin/python" cargo test --quiet --workspace --features nomopoly-build/cli \
    --lib audit::onnxruntime
