"""Ways in which a host can cheat, to see that each of them is refused.

Each takes the host and the input, and returns the outputs of prover.onnx as a dict of arrays.
"""

import json
import pathlib

import numpy
import onnx
import onnxruntime
from onnx import numpy_helper


def honest(host, image):
    return host.run(image)


def wrong_answer(host, image):
    """Runs the model, then makes another class win."""
    outputs = host.run(image)
    answer = outputs[host.answer].copy()
    answer[0, (answer[0].argmax() + 1) % answer.shape[1]] = answer.max() + 1
    return outputs | {host.answer: answer}


def other_model(host, image):
    """Runs weights rounded to 8 bits, to save memory and time; the claim names the full model."""
    return host.run(image, host.rounded)


def replayed(host, image):
    """Runs nothing: sends the whole honest answer to an earlier, different image."""
    earlier = next(seen for seen in reversed(host.seen) if not numpy.array_equal(seen, image))
    return host.run(earlier)


def altered(host, image):
    """Runs the model, then changes one number inside, by a hundredth of its tensor's norm."""
    outputs = host.run(image)
    tensor = outputs[host.inner].copy()
    tensor.flat[tensor.size // 2] += 0.01 * numpy.linalg.norm(tensor)
    return outputs | {host.inner: tensor}


def lazy(host, image):
    """Runs nothing: zeros everywhere, and the right identity."""
    outputs = host.run(image)
    return {
        name: array if array.dtype == numpy.uint8 else numpy.zeros_like(array)
        for name, array in outputs.items()
    }


CHEATS = {
    "honest": honest,
    "wrong-answer": wrong_answer,
    "other-model": other_model,
    "replayed": replayed,
    "altered": altered,
    "lazy": lazy,
}


class Host:
    """prover.onnx, ready to run, and what the cheats need beside it."""

    def __init__(self, folder, seen):
        """`folder`: what the export wrote. `seen`: two different inputs that count as seen before all others."""
        path = pathlib.Path(folder, "prover.onnx")
        contract = json.loads(pathlib.Path(folder, "export.json").read_text())
        self.honest = onnxruntime.InferenceSession(path)
        (self.input,) = self.honest.get_inputs()
        self.outputs = [output.name for output in self.honest.get_outputs()]
        self.answer = contract["outputs"][0]["name"]
        names = [tensor["name"] for tensor in contract["transcript"]]
        self.inner = next(name for name in names if name != self.answer)
        self.rounded = onnxruntime.InferenceSession(rounded_to_int8(path))
        # Two different ones are enough: one of them differs from whatever comes next.
        self.seen = list(seen)

    def run(self, image, session=None):
        """Every output of prover.onnx by its name."""
        values = (session or self.honest).run(self.outputs, {self.input.name: image})
        return dict(zip(self.outputs, values))

    def infer(self, image, cheat):
        """What this host, honest or cheating, sends for `image`."""
        outputs = CHEATS[cheat](self, image)
        if not numpy.array_equal(self.seen[-1], image):
            self.seen = [self.seen[-1], image]
        return outputs


def rounded_to_int8(path):
    """prover.onnx, with the model's own matrices rounded to 8 bits; as bytes."""
    model, rounded = onnx.load(path), 0
    for weights in model.graph.initializer:
        array = numpy_helper.to_array(weights)
        # What the export added has its own prefix: a host would leave that alone.
        if weights.name.startswith("nomopoly.") or array.dtype != numpy.float32 or array.ndim < 2:
            continue
        step = numpy.abs(array).max() / 127
        copy = numpy.round(array / step).astype(numpy.float32) * numpy.float32(step)
        weights.CopyFrom(numpy_helper.from_array(copy, weights.name))
        rounded += 1
    if not rounded:
        raise ValueError(f"{path}: no weights that could be rounded")
    return model.SerializeToString()
