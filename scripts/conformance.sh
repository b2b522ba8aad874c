#!/usr/bin/env bash
# The ONNX conformance check: the backend node tests of the `onnx` package for the kinds that have
# artefacts, through the command that users run, and every exported file under onnx.checker and
# ONNX Runtime; whole models that were exported, whose verifier must give the verdicts of the Rust one;
# the page of examples/browser where there is a browser. Makes its own virtual environments in git-ignored
# folders.
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

# Whole models: claims of every attack of the audit, written by the test that compares the two verifiers
# in Rust; and a model with open dimensions, from ONNX to verdicts.
models=target/conformance/models
rm -rf "$models"
NOMOPOLY_EXPORT_DUMP="$PWD/$models" cargo test --quiet --workspace --features nomopoly-build/cli \
    --lib audit::exported_tests
"$venv/bin/python" tests/conformance/check_model_exports.py "$models"
"$venv/bin/python" tests/conformance/open_model.py target/debug/cargo-nomopoly target/conformance/open

# A host and a client in Python, the digits between them, and hosts that cheat. The README shows the two as
# they are.
python=target/conformance/python
digits=examples/digits/models/digits.onnx
rm -rf "$python"
mkdir -p "$python"
cp "$digits" "$python/digits.onnx"
"$venv/bin/python" - "$python/digits.npz" <<'PYTHON'
import sys
import numpy
for file in ("host.py", "client.py"):
    for page in ("README.md", "examples/python/README.md"):
        code = open(f"examples/python/{file}").read()
        if code[code.index('"""\n\n') + 5 :].strip() not in open(page).read():
            sys.exit(f"{page} shows another {file}")
images = numpy.load("examples/digits/data/test_images.npy")
numpy.savez(sys.argv[1], image=images.reshape(-1, 1, 8, 8)[:100].astype(numpy.float32) / 16)
PYTHON
nomopoly() { target/debug/cargo-nomopoly nomopoly --quiet "$@" >/dev/null; }
nomopoly compile "$python/digits.onnx" --registry "$python/ops"
nomopoly export "$python/digits.onnx" --registry "$python/ops" --out "$python/digits"
"$venv/bin/python" examples/python/cheats.py "$python" digits target/debug/cargo-nomopoly nomopoly

# The page that checks a host's answers. Where there is no npm or no Chromium it is skipped, which is said;
# with REQUIRE_BROWSER=1 that is a failure.
if command -v npm >/dev/null; then
    examples/browser/setup.sh --test
    target/browser/venv/bin/python examples/browser/test_host.py
    target/browser/venv/bin/python examples/browser/test_page.py
else
    echo "SKIPPED: the page of examples/browser was not tested: that needs npm"
    [ "${REQUIRE_BROWSER:-}" != 1 ] || exit 1
fi

# The whole audit of the digits, with honest runs of ONNX Runtime: what hosts try must all be refused.
audit=target/conformance/audit
nomopoly compile "$digits" --registry "$audit/ops"
nomopoly audit "$digits" --registry "$audit/ops" --out "$audit" --samples 400 --no-baseline \
    --python "$venv/bin/python"
"$venv/bin/python" tests/conformance/check_audit.py "$audit/audit.json" "$audit/ops/audits"
NOMOPOLY_PYTHON="$PWD/$venv/bin/python" cargo test --quiet --workspace --features nomopoly-build/cli \
    --lib audit::onnxruntime
