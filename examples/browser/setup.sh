#!/usr/bin/env bash
# Puts everything that this example needs into target/browser, which git ignores:
#
#   venv/      Python with what host.py needs
#   ort/       the two files of onnxruntime-web that the page loads
#   digits/    the digits model as `cargo nomopoly export` writes it, from operations in ops/
#
#   examples/browser/setup.sh           for the example
#   examples/browser/setup.sh --test    also what test_page.py needs: Playwright, and axe-core in axe/
#
# With NOMOPOLY_EXPORTED=DIR, DIR is used as it is and nothing is exported. Running it again is cheap.
# Needs Python 3.11 or later, npm, and Rust for the export.
set -euo pipefail

cd "$(dirname "$0")/../.."
folder=target/browser
venv=$folder/venv

say() { printf 'browser/setup: %s\n' "$*" >&2; }

for tool in python3 npm; do
    command -v "$tool" >/dev/null || { say "$tool is needed and is not on the PATH"; exit 1; }
done
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "Python 3.11 or later is needed"
    exit 1
fi

install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --requirement "examples/browser/$1"
}

# unpack PACKAGE VERSION SHA512 FOLDER FILE...: these files of a package of npm's registry. The digest,
# npm's "integrity", is compared with the one given here, whatever the registry says.
unpack() {
    local stamp="$folder/$4/.$2-${3//[^A-Za-z0-9]/}"
    [ -f "$stamp" ] && return
    say "downloading $1 $2"
    local work
    work=$(mktemp -d "$folder/npm.XXXXXX")
    npm pack --silent --ignore-scripts --pack-destination "$work" "$1@$2" >/dev/null
    python3 - "$work" "$3" "$folder/$4" "${@:5}" <<'PYTHON'
import base64
import hashlib
import io
import pathlib
import sys
import tarfile

work, expected, folder, *names = sys.argv[1:]
(tarball,) = pathlib.Path(work).glob("*.tgz")
data = tarball.read_bytes()
digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
if digest != expected:
    sys.exit(f"{tarball.name}: sha512 is {digest}, expected {expected}")
folder = pathlib.Path(folder)
folder.mkdir(parents=True, exist_ok=True)
with tarfile.open(fileobj=io.BytesIO(data)) as archive:
    for name in names:
        (folder / pathlib.Path(name).name).write_bytes(archive.extractfile(f"package/{name}").read())
PYTHON
    rm -r "$work"
    touch "$stamp"
}

mkdir -p "$folder"
if [ ! -x "$venv/bin/python" ]; then
    say "making a virtual environment at $venv"
    python3 -m venv "$venv"
fi
install requirements.txt

# The build without WebGPU and WebNN, with its loader inside: 73 KB of JavaScript, 14 MB of WebAssembly.
unpack onnxruntime-web 1.30.0 \
    q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ== \
    ort dist/ort.wasm.bundle.min.mjs dist/ort-wasm-simd-threaded.wasm

if [ "${1:-}" = --test ]; then
    install requirements-test.txt
    unpack axe-core 4.14.1 \
        FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ== \
        axe axe.min.js
fi

if [ -n "${NOMOPOLY_EXPORTED:-}" ]; then
    say "using $NOMOPOLY_EXPORTED"
else
    say "exporting the digits model (the first build takes several minutes)"
    # In a registry of its own: training takes seconds, and that of examples/digits stays as it is.
    cargo nomopoly compile --quiet examples/digits/models/digits.onnx --registry "$folder/ops" \
        >/dev/null
    cargo nomopoly export --quiet examples/digits/models/digits.onnx --registry "$folder/ops" \
        --out "$folder/digits" >/dev/null
fi

say "ready. Start the host:  $venv/bin/python examples/browser/host.py"
