#!/usr/bin/env bash
# Times exported provers and verifiers of real models against the models, in ONNX Runtime on one thread: a line
# of JSON per model with ratios over plain inference, by turns in one run. Then the same verifiers in a headless
# Chromium, where npm and a browser are. Models and inputs come from scripts/fetch-models.sh and
# scripts/export-models.sh (target/models); everything written goes to target/exports and target/browser.
#
#     scripts/exports.sh [MODEL..]      # of resnet18 mobilenet_v2 minilm digits; default: all
set -euo pipefail
cd "$(dirname "$0")/.."

python=${NOMOPOLY_PYTHON:-target/models/venv/bin/python}
out=target/exports
mkdir -p "$out"
cargo build --quiet --features nomopoly-build/cli --bin cargo-nomopoly
nomopoly() { target/debug/cargo-nomopoly nomopoly --quiet "$@" --registry "$out/ops" > /dev/null; }

browser=
if command -v npm >/dev/null && NOMOPOLY_EXPORTED=$out examples/browser/setup.sh --test; then
    browser=yes
fi

measure() {
    local name=$1 model=$2 inputs=$3 shape=$4 options=$5
    shift 5
    if [ ! -f "$model" ]; then
        echo "$name: skipped, there is no $model: run scripts/export-models.sh" >&2
        return
    fi
    # shellcheck disable=SC2086 # several words are meant
    nomopoly compile "$model" --calibration "$inputs" $options "$@"
    nomopoly export "$model" --out "$out/$name"
    nomopoly export "$model" --out "$out/$name-baked" --bake-key
    "$python" scripts/models/measure_exports.py "$model" "$out/$name" "$inputs" \
        --baked "$out/$name-baked" ${shape:+--shape "$shape"}
    [ -z "$browser" ] || target/browser/venv/bin/python examples/browser/bench_page.py "$model" "$out/$name" "$inputs"
}

models=${*:-resnet18 mobilenet_v2 minilm digits}
image="--input image=1,3,224,224"
tokens="--input input_ids=1,128 --input attention_mask=1,128 --input token_type_ids=1,128"
for model in $models; do
    case $model in
        resnet18) measure resnet18 target/models/resnet18.onnx target/models/resnet18.npz "" "$image" ;;
        mobilenet_v2) measure mobilenet_v2 target/models/mobilenet_v2.onnx target/models/mobilenet_v2.npz "" "$image --envelope 32" ;;
        minilm) measure minilm target/models/minilm.onnx target/models/minilm.npz "1,128" "$tokens" ;;
        digits)
            mkdir -p "$out"
            "$python" -c "import numpy as np; a = np.load('examples/digits/data/test_images.npy'); np.savez('$out/digits.npz', image=(a.reshape(-1, 1, 8, 8) / (16 if a.dtype == np.uint8 else 1)).astype(np.float32))"
            measure digits examples/digits/models/digits.onnx "$out/digits.npz" "" "" ;;
        *) echo "no model $model" >&2; exit 2 ;;
    esac
done
