#!/usr/bin/env bash
# Models of PyTorch, scikit-learn and JAX, from training to a host and a client with ONNX Runtime, and what the client
# says of hosts that cheat. Works in target/python (git-ignored); virtual environments are made once.
#
#   examples/python/run.sh [torch] [sklearn] [jax]     all three by default
#
# NOMOPOLY is how `cargo nomopoly` is called, WORK another folder to work in.
set -euo pipefail

cd "$(dirname "$0")/../.."
here=examples/python
work="${WORK:-target/python}"
read -ra nomopoly <<<"${NOMOPOLY:-cargo run --quiet --features nomopoly-build/cli --bin cargo-nomopoly -- nomopoly}"
mkdir -p "$work"

# Puts what FILE lists, and nothing else, into the virtual environment NAME.
environment() {
    if ! cmp --silent "$here/$2" "$work/venv-$1/installed.txt"; then
        echo "installing $2" >&2
        python3 -m venv --clear "$work/venv-$1"
        "$work/venv-$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
            --only-binary :all: --requirement "$here/$2"
        cp "$here/$2" "$work/venv-$1/installed.txt"
    fi
}

environment onnxruntime requirements.txt
[ $# -gt 0 ] || set -- torch sklearn jax
failed=0
for name in "$@"; do
    environment "$name" "requirements-$name.txt"
    "$work/venv-$name/bin/python" "$here/make_$name.py" "$work"
    "${nomopoly[@]}" compile "$work/$name.onnx" --registry "$work/ops" --quiet >"$work/$name-compile.txt"
    "${nomopoly[@]}" export "$work/$name.onnx" --registry "$work/ops" --out "$work/$name" --quiet >/dev/null
    "$work/venv-onnxruntime/bin/python" "$here/cheats.py" "$work" "$name" "${nomopoly[@]}" || failed=1
done
exit $failed
