"""What a client was given, against export.json: whatever is not as that says is named, before verifier.onnx sees it."""

import hashlib
import json

import numpy as np

SCHEMA = 2
# What the client reads of verifier.onnx's outputs, the verdict first; `reasons` takes the others.
RESULTS = ["nomopoly." + name for name in ("verdict", "same_model", "same_key", "same_shapes", "scores")]
PREFIXES = {"f": "float", "i": "int", "u": "uint"}


def contract(folder):
    """export.json, if this client knows its schema and the files beside it are those that it names."""
    export = json.loads((folder / "export.json").read_text())
    if export["schema"] != SCHEMA:
        raise ValueError(f"export.json has schema {export['schema']}, this client reads {SCHEMA}: export again")
    for name, file in export["files"].items():
        if not name.startswith("prover") and hashlib.sha256((folder / name).read_bytes()).hexdigest() != file["sha256"]:
            raise ValueError(f"{name} is not the file that was exported")
    return export


def claims(export):
    """What a host says: never an input and never a part of the key."""
    return export["outputs"] + export["transcript"] + export["proofs"]


def read(file, expected):
    """The arrays of an .npz, a path or what a host sent: exactly those of `expected`, of its types and shapes, and
    finite."""
    where = file if isinstance(file, str) else "the host's answer"
    arrays = np.load(file, allow_pickle=False)  # a pickle from outside could run code here
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise ValueError(f"{where} is one array, not an .npz of several")
    wanted = {tensor["name"] for tensor in expected}
    odd = [f"{name} is missing" for name in sorted(wanted.difference(arrays))]
    odd += [f"{name} is not asked for" for name in sorted(set(arrays) - wanted)]
    if odd:
        raise ValueError(f"{where}: {', '.join(odd)}")
    checked = {}
    for tensor in expected:
        name, array, shape = tensor["name"], arrays[tensor["name"]], tensor["shape"]
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{where}: {name} is no array")
        dtype = PREFIXES.get(tensor["dtype"][0], "") + tensor["dtype"].lstrip("fiu")  # f32: float32; bool is bool
        if array.dtype.name != dtype:
            raise ValueError(f"{where}: {name} is of {array.dtype.name}, not of {dtype}")
        # None stands for an extent that the model leaves open: verifier.onnx knows which one is right. No shape at
        # all: not even the number of axes is known.
        if shape is not None and not fits(array.shape, shape):
            raise ValueError(f"{where}: {name} has shape {list(array.shape)}, not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} is not finite")
        checked[name] = array.astype(dtype)  # in this machine's order of bytes
    return checked


def fits(shape, expected):
    return len(shape) == len(expected) and all(d in (None, n) for d, n in zip(expected, shape))


def reasons(export, same_model, same_key, same_shapes, scores):
    """Why the verdict is no."""
    wrong = [] if same_key else ["the key is of another model"]
    wrong += [] if same_model else ["the proof is of another model"]
    if not same_shapes:  # which is a score of 0 for every operation
        return ", ".join([*wrong, "what the host sent does not have the shapes that these inputs give"])
    wrong += [f"{op['name']} scores {score}" for op, score in zip(export["operations"], scores) if not score >= 0.5]
    return ", ".join(wrong)
