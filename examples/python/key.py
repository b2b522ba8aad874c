"""Draws a verifier's key without Rust: through key.onnx, with random numbers that nobody can predict."""

import os

import numpy as np
from onnxruntime import InferenceSession


def normals(shape):
    """Standard normal numbers from secret bytes of the system (Box-Muller): what NumPy draws can be predicted."""
    bits = np.frombuffer(os.urandom(16 * int(np.prod(shape))), np.uint64).reshape(2, *shape)
    u, v = (bits >> 11) * 2.0**-53
    return (np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)).astype(np.float32)


def draw(folder, export):
    """A fresh key: whoever knows it can forge, so it never leaves the client, and after a refusal it is replaced."""
    if export["secret"]:
        return {}  # verifier.onnx has one inside
    model = InferenceSession(folder / "key.onnx")
    tensors = model.run(None, {random["name"]: normals(random["shape"]) for random in export["random"]})
    return dict(zip([output.name for output in model.get_outputs()], tensors))
