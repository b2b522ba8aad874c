"""Runs exported whole models in ONNX Runtime: the verdicts are those of the Rust verifier.

    python tests/conformance/check_model_exports.py folder

Needs onnx, onnxruntime and numpy. `folder` holds a folder per model, as the test
`the_exported_verifier_judges_every_attack_as_the_runtime_does` writes it with `NOMOPOLY_EXPORT_DUMP`:
the exported files, and `claims.json` with claims of every attack of the audit and what the Rust verifier
said of them. For every model:

- the files pass ONNX's full check and use its standard domain;
- each file's SHA-256 is that of `export.json`, and its metadata agree with it;
- honest runs of `prover.onnx` are accepted under fresh keys of `key.onnx`, at several scales;
- what it recomputes of the outputs is what was claimed, up to rounding;
- of every recorded claim, verdict and scores are Rust's;
- an identity of another model, a key of another model and what is not finite are refused;
- a tensor that is missing, or of another type or rank, is named by ONNX Runtime;
- every altered tensor of an honest proof is refused.

The exit code is 1 if a model failed, 2 if there was none.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

# What ONNX Runtime raises for what it does not take, and for nodes that cannot go on.
RUNTIME_ERRORS = (ValueError, state.InvalidArgument, state.Fail, state.RuntimeException)

HONEST_RUNS = 50
SCALES = (1e-3, 1.0, 1e3, 1e-12, 1e12)
# Two runtimes round otherwise; so near to 0.5 a verdict may be either.
ROUNDING = 0.15


def require(condition, message):
    if not condition:
        raise AssertionError(message)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # refusals are looked at where they are made
    return onnxruntime.InferenceSession(str(path), options)


def run(session, tensors):
    wanted = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
    fed = {name: tensor for name, tensor in tensors.items() if name in wanted}
    return dict(zip(outputs, session.run(None, fed)))


def normals(shape):
    """Standard normals from the operating system's random source, by Box and Muller."""
    count = int(np.prod(shape))
    bits = np.frombuffer(os.urandom(16 * count), np.uint64).reshape(2, count)
    uniform = (bits.astype(np.float64) + 0.5) / 2.0**64
    radius = np.sqrt(-2 * np.log(np.clip(uniform[0], 2.0**-60, 1)))
    return (radius * np.cos(2 * np.pi * uniform[1])).astype(np.float32).reshape(shape)


def near(tensor, claimed):
    """Whether a tensor is another one up to rounding."""
    if tensor.shape != claimed.shape or tensor.dtype != claimed.dtype:
        return False
    if not np.issubdtype(tensor.dtype, np.floating):
        return np.array_equal(tensor, claimed)
    return bool((np.abs(tensor - claimed) <= 1e-4 * np.abs(claimed).max(initial=0)).all())


class Model:
    def __init__(self, folder):
        self.folder = folder
        self.interface = json.loads((folder / "export.json").read_text())
        self.files = {}
        for role in ("prover", "verifier", "key"):
            path = folder / f"{role}.onnx"
            onnx.checker.check_model(str(path), full_check=True)
            model = onnx.load(path, load_external_data=False)
            domains = {node.domain for node in model.graph.node}
            domains |= {opset.domain for opset in model.opset_import}
            require(domains <= {"", "ai.onnx"}, f"{role} uses domains {sorted(domains)}")
            opset = max(opset.version for opset in model.opset_import)
            require(opset == self.interface["opset"], f"{role} has operator set {opset}")
            self.check_metadata(role, {entry.key: entry.value for entry in model.metadata_props})
            self.files[role] = session(path)
        for name, info in self.interface["files"].items():
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            require(digest == info["sha256"], f"{name} was changed")

    def check_metadata(self, role, metadata):
        interface = self.interface
        secret = role == "verifier" and interface["secret"]
        expected = {
            "nomopoly.role": role,
            "nomopoly.schema": str(interface["schema"]),
            "nomopoly.artefact_schema": str(interface["artefact_schema"]),
            "nomopoly.model": interface["model"]["name"],
            "nomopoly.model_digest": interface["model"]["digest"],
            "nomopoly.operations_digest": interface["model"]["operations"],
            "nomopoly.secret": "true" if secret else "false",
        }
        for key, value in expected.items():
            require(metadata.get(key) == value, f"{role}: {key} is {metadata.get(key)!r}, not {value!r}")
        expected = {"nomopoly.options": interface["options"], "nomopoly.guarantee": interface["operations"]}
        for key, value in expected.items():
            require(json.loads(metadata.get(key, "null")) == value, f"{role}: {key} is {metadata.get(key)}")
        certified = [op["certified_deviation"] for op in interface["operations"] if op["checked_by"] == "sketch"]
        require(all(d and d < 0.1 for d in certified), f"certified deviations are {certified}")

    def key(self):
        random = {info["name"]: normals(info["shape"]) for info in self.interface["random"]}
        return run(self.files["key"], random)

    def inputs(self, random, scale):
        def one(info):
            shape = [extent or 1 for extent in info["shape"]]
            return (scale * random.standard_normal(shape)).astype(np.float32)

        return {info["name"]: one(info) for info in self.interface["inputs"]}

    def judge(self, *tensors):
        return run(self.files["verifier"], {k: v for part in tensors for k, v in part.items()})


def check(folder):
    model = Model(folder)
    random = np.random.default_rng(0)
    for number in range(HONEST_RUNS):
        inputs = model.inputs(random, SCALES[number % len(SCALES)])
        key = model.key()
        proof = run(model.files["prover"], inputs)
        # What the host sends never overrides an input or the key.
        verdict = model.judge(proof, inputs, key)
        for said in ("verdict", "same_model", "same_key", "same_shapes"):
            require(verdict[f"nomopoly.{said}"], f"honest run {number}: no {said}: {verdict}")
        for name, tensor in verdict.items():
            if name.startswith("nomopoly.recomputed/"):
                claimed = proof[name.removeprefix("nomopoly.recomputed/")]
                require(near(tensor, claimed), f"{name} is not what was claimed")

    edits = 0
    inputs = model.inputs(random, 1.0)
    proof = run(model.files["prover"], inputs)
    for name, tensor in proof.items():
        if tensor.dtype != np.float32:
            continue
        altered = tensor.copy()
        place = np.unravel_index(random.integers(altered.size), altered.shape)
        altered[place] += 0.1 * max(np.sqrt((tensor**2).sum()), 1e-3)
        for what in (altered, np.full_like(tensor, np.nan), np.full_like(tensor, np.inf)):
            verdict = model.judge({**proof, name: what}, inputs, key)
            require(not verdict["nomopoly.verdict"], f"`{name}` altered is accepted")
            edits += 1
    for name, said in (("nomopoly.identity", "same_model"), ("nomopoly.key/identity", "same_key")):
        other = {**proof, **key}
        other[name] = other[name].copy()
        other[name][40] ^= 1
        verdict = model.judge(other, inputs)
        require(not verdict["nomopoly.verdict"], f"another {name} is accepted")
        require(not verdict[f"nomopoly.{said}"], f"another {name} is not told")
    whole = {**proof, **key}
    for name, tensor in whole.items():
        rest = {other: whole[other] for other in whole if other != name}
        for tensors, said in (
            (rest, f"Required inputs (['{name}'])"),
            ({**rest, name: tensor[None]}, f"rank for input: {name} "),
        ):
            try:
                model.judge(tensors, inputs)
            except RUNTIME_ERRORS as error:
                require(said in str(error), f"{said!r} is not said: {error}")
            else:
                require(False, f"without `{name}`, or with one of another rank, there is a verdict")
        try:
            model.judge({**rest, name: tensor.astype(np.int16)}, inputs)
        except RUNTIME_ERRORS as error:
            # ONNX Runtime names the types, and not the tensor.
            require("int16" in str(error), f"the type of `{name}` is not named: {error}")
        else:
            require(False, f"`{name}` of another type is judged")

    names = [operation["name"] for operation in model.interface["operations"]]
    claims = json.loads((folder / "claims.json").read_text())
    attacks = set()
    for claim in claims:
        tensors = dict(np.load(folder / claim["file"], allow_pickle=False))
        verdict = model.judge(tensors)
        scores = dict(zip(names, verdict["nomopoly.scores"].tolist()))
        for name, expected in claim["scores"].items():
            require(
                abs(scores[name] - expected) < ROUNDING,
                f"{claim['attack']}: `{name}` scores {scores[name]}, in Rust {expected}",
            )
        require(
            bool(verdict["nomopoly.verdict"]) == claim["accepted"],
            f"{claim['attack']}: {verdict['nomopoly.verdict']}, in Rust {claim['accepted']}",
        )
        attacks.add(claim["attack"])
    print(
        f"{folder.name}: {HONEST_RUNS} honest runs accepted, {edits} edits refused, "
        f"{len(claims)} claims of {len(attacks)} attacks judged as in Rust"
    )


def main():
    folders = sorted(path.parent for path in Path(sys.argv[1]).glob("*/export.json"))
    if not folders:
        print(f"no exported model in {sys.argv[1]}", file=sys.stderr)
        return 2
    failed = 0
    for folder in folders:
        try:
            check(folder)
        except AssertionError as error:
            failed += 1
            print(f"{folder.name}: FAILED: {error}", file=sys.stderr)
    print(f"{len(folders) - failed} of {len(folders)} exported models passed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
