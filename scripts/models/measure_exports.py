"""Times exported provers and verifiers against their model, all in ONNX Runtime on one thread.

    python scripts/models/measure_exports.py model.onnx exported inputs.npz [--turns 7] [--baked folder]

Needs numpy and onnxruntime. Calls of the model, of `prover.onnx` and of `verifier.onnx` by turns, so that a noisy
machine disturbs all of them. A host does nothing but prove and a client nothing but check: of the calls of a
turn the first half is left out, in which the processor's caches still hold what others used. The very first
ones are printed apart ("first"). Prints medians of ratios over the model's, and the sizes of the files. Before
that: 20 proofs must be accepted, each of an input of its own, and refused once edited. The first of these
inputs is the one that is timed.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "conformance"))
from check_model_exports import normals, run, session  # noqa: E402

CHECKED = 20
# Calls of one turn.
CALLS = 20


def inputs(interface, arrays, number, shape):
    """One inference's arrays: sample `number`, of the shapes that were asked for where it is open."""
    fed = {}
    for info in interface["inputs"]:
        array = arrays[info["name"]]
        rank = len(info["shape"])
        sample = array[number % len(array)]
        fed[info["name"]] = sample[None] if sample.ndim < rank else sample
        if shape and fed[info["name"]].shape[1:] != tuple(shape)[1:]:
            # Tokens: the sample over and over, up to the length.
            fed[info["name"]] = np.resize(fed[info["name"]], shape)
    return fed


def size(folder, role):
    return sum(path.stat().st_size for path in Path(folder).glob(f"{role}.onnx*"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--baked", type=Path)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--shape", help="of every input, for example 1,128")
    options = parser.parse_args()
    shape = [int(d) for d in options.shape.split(",")] if options.shape else None

    interface = json.loads((options.exported / "export.json").read_text())
    arrays = dict(np.load(options.inputs, allow_pickle=False))
    model = session(options.model)
    prover, verifier, key = (session(options.exported / f"{r}.onnx") for r in ("prover", "verifier", "key"))
    drawn = run(key, {info["name"]: normals(info["shape"]) for info in interface["random"]})

    baked = session(options.baked / "verifier.onnx") if options.baked else None
    verifiers = [verifier, baked] if baked else [verifier]
    accepted = refused = 0
    for number in range(CHECKED):
        fed = inputs(interface, arrays, number, shape)
        proof = run(prover, fed)
        accepted += all(run(v, {**fed, **proof, **drawn})["nomopoly.verdict"] for v in verifiers)
        names = [info["name"] for info in interface["transcript"] or interface["outputs"]]
        name = names[number % len(names)]
        edited = proof[name].copy()
        edited.flat[edited.size // 3] += 1e-2 * max(float(np.sqrt((edited**2).sum())), 1e-3)
        edited = {**fed, **proof, **drawn, name: edited}
        refused += not any(run(v, edited)["nomopoly.verdict"] for v in verifiers)
    if (accepted, refused) != (CHECKED, CHECKED):
        sys.exit(f"of {CHECKED} honest proofs {accepted} are accepted, of as many edits {refused} refused")

    fed = inputs(interface, arrays, 0, shape)
    proof = run(prover, fed)
    claim = {**fed, **proof, **drawn}
    turns = {"model": (model, fed), "prover": (prover, fed), "verifier": (verifier, claim)}
    if baked:
        turns["verifier, baked"] = (baked, claim)
    first, later = ({name: [] for name in turns} for _ in range(2))
    for _ in range(options.turns):
        for name, (which, tensors) in turns.items():
            wanted = {value.name for value in which.get_inputs()}
            tensors = {name: tensor for name, tensor in tensors.items() if name in wanted}
            seconds = []
            for _ in range(CALLS):
                start = time.perf_counter()
                which.run(None, tensors)
                seconds.append(time.perf_counter() - start)
            first[name].append(seconds[0])
            later[name].append(float(np.median(seconds[CALLS // 2 :])))
    base = float(np.median(later["model"]))

    def ratios(times):
        base = np.array(times["model"])
        return {name: round(float(np.median(np.array(t) / base)), 3) for name, t in times.items() if name != "model"}

    bytes_of_model = options.model.stat().st_size
    proof_bytes = sum(t.nbytes for n, t in proof.items() if n not in {o["name"] for o in interface["outputs"]})
    result = {
        "model": interface["model"]["name"],
        "accepted": f"{accepted}/{CHECKED}",
        "edits_refused": f"{refused}/{CHECKED}",
        "model_ms": round(1e3 * base, 3),
        **ratios(later),
        "first": ratios(first),
        "sizes": {role: round(size(options.exported, role) / bytes_of_model, 3) for role in ("prover", "verifier", "key")},
        "proof_MB": round(proof_bytes / 1e6, 2),
        "sketched": sum(o["checked_by"] == "sketch" for o in interface["operations"]),
        "onnxruntime": onnxruntime.__version__,
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
