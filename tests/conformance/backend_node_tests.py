"""Runs the backend node tests of the `onnx` package through the command that users run.

Usage: backend_node_tests.py PATH/TO/cargo-nomopoly FOLDER

Every test of the ten kinds with one float node is taken. Weights that the test passes as inputs
(Conv, Gemm, BatchNormalization, the right operand of MatMul, the shape of Reshape) become
initialisers, as in any real model. Each model is compiled, one inference is proved, the outputs
are compared with the test's, and the proof is verified.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

KINDS = "add averagepool batchnorm conv flatten gemm matmul maxpool relu reshape".split()
# Inputs that stay inputs; the others become initialisers.
VARYING = {"Add": 2}
# Not what the kinds are about, each with its reason.
EXCLUDED = {
    r"_training_mode": "training is not inference",
    r"convinteger|convtranspose|matmulinteger": "other kinds, without artefacts",
    r"with_argmax": "the output Indices has no artefact",
    r"_expanded": "a graph of other kinds",
    r"reshape_allowzero": "an input without elements: there is nothing to prove",
    r"matmul_1d_1d": "the runtime (tract) refuses a product of two vectors",
}


def fold(case):
    """The test's model with its weights as initialisers, the inputs that are left, the outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    node = model.graph.node[0]
    inputs, outputs = case.data_sets[0]
    keep = VARYING.get(node.op_type, 1)
    left = {}
    names = [value.name for value in model.graph.input]
    for name, value in zip(names, inputs):
        array = np.asarray(value)
        if list(node.input).index(name) < keep:
            left[name] = array
        else:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
            model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    return model, left, [np.asarray(value) for value in outputs]


def run(command, folder, *arguments):
    result = subprocess.run(
        [command, "nomopoly", *arguments], capture_output=True, text=True, cwd=folder
    )
    if "panicked" in result.stderr:
        raise AssertionError(f"panic: {result.stderr}")
    if result.returncode != 0:
        raise AssertionError(f"{arguments[0]} exited {result.returncode}: {result.stderr[-600:]}{result.stdout[-600:]}")
    return result.stdout


def check(case, command, folder, registry):
    model, inputs, expected = fold(case)
    path = folder / f"{case.name}.onnx"
    onnx.save(model, path)
    arguments = []
    for name, array in inputs.items():
        file = folder / f"{case.name}.{name}.npy"
        np.save(file, np.ascontiguousarray(array))
        arguments += ["--input", f"{name}={file}"]
    registry = ["--registry", str(registry)]
    compiled = json.loads(
        run(command, folder, "compile", str(path), "--preset", "fast", *registry, "--format", "json")
    )
    proof = folder / f"{case.name}.npf"
    proved = json.loads(
        run(command, folder, "prove", str(path), *arguments, "--out", str(proof), *registry,
            "--format", "json")
    )
    for output, array in zip(proved["outputs"], expected):
        got = np.array(output["values"], dtype=array.dtype).reshape(output["shape"])
        np.testing.assert_allclose(got, array, rtol=case.rtol, atol=max(case.atol, 1e-6))
    run(command, folder, "verify", str(path), *arguments, "--proof", str(proof), *registry)
    return "artefact" if compiled["operations"] else "replayed"


def main():
    command, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    cases = {}
    for case in collect_testcases(None):
        if re.match(rf"test_({'|'.join(KINDS)})(_|$|integer|transpose)", case.name):
            cases[case.name] = case
    passed = failed = skipped = 0
    for name, case in sorted(cases.items()):
        reason = next((why for pattern, why in EXCLUDED.items() if re.search(pattern, name)), None)
        if reason:
            skipped += 1
            print(f"skip {name}: {reason}")
            continue
        try:
            how = check(case, command, folder, folder / "ops")
            passed += 1
            print(f"ok   {name} ({how})")
        except Exception as error:  # each failure is reported, the rest still run
            failed += 1
            print(f"FAIL {name}: {error}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)


main()
