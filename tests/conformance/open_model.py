"""A model with open dimensions, from ONNX to verdicts: in ONNX Runtime and in Rust.

    python tests/conformance/open_model.py cargo-nomopoly folder

Needs onnx, onnxruntime and numpy. Makes a model with an open batch and open image sizes (plain, grouped,
strided and depthwise convolutions, batch normalisation, a skip, pooling, Gemm, MatMul with a bias on a
tensor of three axes, Softmax; one output of floats, one of indices), compiles it at one size, exports it,
and checks at several others:

- honest proofs of `prover.onnx` are accepted by `verifier.onnx` and by `cargo nomopoly verify`;
- an altered output, an altered transcript and the proof of another input are refused by both;
- a claim of another batch than the input's is refused.

Also with a baked key, with outputs that are scalars, and with a key of the command. The exit code is 1 on a failure.
"""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from check_model_exports import RUNTIME_ERRORS, Model, near, require, run, session

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "python"))
import exported  # noqa: E402

OPSETS = [11, 13, 18, 21, 23]
SHAPES = [(1, 3, 24, 20), (2, 3, 24, 20), (3, 3, 17, 33), (1, 3, 40, 40)]


def network(opset=17):
    random = np.random.default_rng(3)
    constants = []

    def weight(name, *shape):
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        values = random.standard_normal(shape) * np.sqrt(2 / fan_in)
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def ints(name, values):
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    node = helper.make_node
    same = {"pads": [1, 1, 1, 1]}
    variance = numpy_helper.from_array(
        random.uniform(0.5, 2, 32).astype(np.float32), "bn.variance"
    )
    constants.append(variance)
    nodes = [
        node("Conv", ["image", weight("c1", 32, 3, 3, 3), weight("b1", 32)], ["conv1"], **same),
        node("BatchNormalization", ["conv1", weight("bn.scale", 32), weight("bn.bias", 32),
                                    weight("bn.mean", 32), "bn.variance"], ["norm1"]),
        node("Relu", ["norm1"], ["relu1"]),
        node("Conv", ["relu1", weight("c2", 32, 16, 3, 3)], ["conv2"], group=2, auto_pad="SAME_UPPER"),
        node("Relu", ["conv2"], ["relu2"]),
        node("Conv", ["relu2", weight("c3", 32, 1, 3, 3)], ["conv3"], group=32, **same),
        node("Add", ["conv3", "relu1"], ["skip"]),
        node("Conv", ["skip", weight("c4", 48, 32, 3, 3), weight("b4", 48)], ["conv4"],
             strides=[2, 2], dilations=[1, 1], pads=[1, 1, 1, 1]),
        node("Relu", ["conv4"], ["relu4"]),
        node("Conv", ["relu4", weight("c5", 64, 48, 1, 1)], ["conv5"]),
        node("MaxPool", ["conv5"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["pooled", ints("as_tokens", [0, 64, -1])], ["columns"]),
        node("Transpose", ["columns"], ["tokens"], perm=[0, 2, 1]),
        node("MatMul", ["tokens", weight("w6", 64, 96)], ["product"]),
        node("Add", ["product", weight("b6", 96)], ["hidden"]),
        node("Tanh", ["hidden"], ["active"]),
        # The axes are an input since operator set 18.
        node("ReduceMean", ["active"], ["mean"], axes=[1], keepdims=0) if opset < 18
        else node("ReduceMean", ["active", ints("second", [1])], ["mean"], keepdims=0),
        node("Gemm", ["mean", weight("w7", 40, 96), weight("b7", 40)], ["logits"], transB=1),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "open",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 40]),
         helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def scalars(batch):
    """Outputs without axes, which ONNX Runtime takes vectors for, and a regression head: one number each."""
    random = np.random.default_rng(4)
    constants = [
        numpy_helper.from_array(random.standard_normal((64, 96)).astype(np.float32), "w"),
        numpy_helper.from_array(random.standard_normal(96).astype(np.float32), "v"),
        numpy_helper.from_array(np.array([-1], np.int64), "flat"),
    ]
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["hidden"]),
        node("Tanh", ["hidden"], ["active"]),
        node("MatMul", ["active", "v"], ["each"]),
        node("ReduceSum", ["active"], ["sum"], keepdims=0),
        node("Reshape", ["each", "flat"], ["all"]),
        node("ArgMax", ["all"], ["best"], axis=0, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "scalars", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64])],
        [helper.make_tensor_value_info("each", TensorProto.FLOAT, [batch]),
         helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
         helper.make_tensor_value_info("best", TensorProto.INT64, [])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def drop_in(model, prover):
    """The prover takes and gives what the model does, by names, types and dimensions; then more."""

    def declared(values):
        return [(value.name, value.type, value.shape) for value in values]

    count = len(model.get_outputs())
    for whose, own, theirs in (
        ("inputs", declared(model.get_inputs()), declared(prover.get_inputs())),
        ("outputs", declared(model.get_outputs()), declared(prover.get_outputs())[:count]),
    ):
        require(own == theirs, f"{whose} of prover.onnx are {theirs}, those of the model {own}")
    require(len(prover.get_outputs()) > count, "prover.onnx proves nothing")


def by_client(model, proof, scalar):
    """The client of examples/python takes the proof, and not one in which a number is a vector of one."""
    for claim in (proof, {**proof, scalar: proof[scalar][None]}):
        file = io.BytesIO()
        np.savez(file, **claim)
        file.seek(0)
        try:
            exported.read(file, exported.claims(model.interface))
            require(claim is proof, f"`{scalar}` of one axis is taken for a number")
        except ValueError as error:
            require(claim is not proof and scalar in str(error), str(error))


def misshapen(model, *claim):
    """A claim of other shapes than those of its inputs: said so, or the runtime names the node that fails."""
    try:
        verdict = model.judge(*claim)
    except RUNTIME_ERRORS as error:
        require(re.search("Name:'[^']+'", str(error)), f"no node is named: {error}")
        return
    require(not verdict["nomopoly.verdict"], "a proof of other shapes is accepted")
    require(not verdict["nomopoly.same_shapes"], "other shapes are not told")


def check_scalars(folder, must):
    for name, batch in (("open", "batch"), ("fixed", 3)):
        path = folder / f"scalars_{name}.onnx"
        onnx.save(scalars(batch), path)
        must("compile", str(path), "--preset", "fast", "--input", "x=3,64")
        must("export", str(path), "--out", str(folder / f"scalars_{name}"))
        model = Model(folder / f"scalars_{name}")
        key, random = model.key(), np.random.default_rng(6)
        for size in (3, 7) if name == "open" else (3,):
            x = {"x": random.standard_normal((size, 64)).astype(np.float32)}
            proof = run(model.files["prover"], x)
            verdict = model.judge(proof, x, key)
            require(verdict["nomopoly.verdict"], f"scalars, {name}, {size}: {verdict}")
            by_client(model, proof, "sum")
            for output in ("sum", "best"):
                for claim in ([], [[]], [proof[output]] * 3, [proof[output] + 1], proof[output] + 1):
                    claim = np.array(claim, proof[output].dtype)
                    try:
                        accepted = model.judge({**proof, output: claim}, x, key)["nomopoly.verdict"]
                    except RUNTIME_ERRORS:
                        accepted = False
                    require(not accepted, f"`{output}` of shape {claim.shape} is accepted")


def main():
    command, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "open.onnx"
    onnx.save(network(), path)

    def nomopoly(*arguments):
        whole = [command, "nomopoly", *arguments, "--registry", str(folder / "ops"), "--quiet"]
        return subprocess.run(whole, capture_output=True, text=True)

    def must(*arguments):
        ran = nomopoly(*arguments)
        require(ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}")

    must("compile", str(path), "--preset", "fast", "--input", "image=1,3,24,20")
    must("export", str(path), "--out", str(folder / "exported"))
    must("export", str(path), "--out", str(folder / "exported"), "--check")
    must("export", str(path), "--out", str(folder / "baked"), "--bake-key")
    must("key", str(path), "--out", str(folder / "key.npz"))
    model = Model(folder / "exported")
    onnx.checker.check_model(str(folder / "baked" / "verifier.onnx"), full_check=True)
    baked = session(folder / "baked" / "verifier.onnx")
    original = session(path)
    drop_in(original, model.files["prover"])
    random = np.random.default_rng(1)
    keys = [model.key(), dict(np.load(folder / "key.npz", allow_pickle=False))]

    def in_rust(image, proof, code, words):
        np.savez(folder / "in.npz", image=image)
        np.savez(folder / "proof.npz", **proof)
        files = ["--inputs", str(folder / "in.npz"), "--proof", str(folder / "proof.npz")]
        ran = nomopoly("verify", str(path), *files)
        require(ran.returncode == code and words in ran.stdout + ran.stderr,
                f"in Rust, {code} {words!r} expected: {ran.stdout}{ran.stderr}")

    def refused(image, proof, what):
        for key in keys:
            verdict = model.judge(proof, image, key)
            require(not verdict["nomopoly.verdict"], f"{what} is accepted: {verdict}")
        in_rust(image["image"], proof, 1, "REJECTED")

    previous = None
    for shape in SHAPES:
        image = {"image": random.standard_normal(shape).astype(np.float32)}
        proof = run(model.files["prover"], image)
        for output, expected in zip(original.get_outputs(), original.run(None, image)):
            require(np.allclose(proof[output.name], expected, atol=1e-5), f"{output.name} differs")
        for key in keys:
            verdict = model.judge(proof, image, key)
            require(verdict["nomopoly.verdict"], f"an honest run at {shape} is refused: {verdict}")
            for output in ("probabilities", "label"):
                recomputed = verdict[f"nomopoly.recomputed/{output}"]
                require(near(recomputed, proof[output]), f"`{output}` is recomputed otherwise")
        require(run(baked, {**image, **proof})["nomopoly.verdict"], "refused with the baked key")
        in_rust(image["image"], proof, 0, "ACCEPTED")

        transcript = [info["name"] for info in model.interface["transcript"]]
        for name in ["probabilities", "label", *transcript]:
            altered = proof[name].copy()
            altered.flat[random.integers(altered.size)] += 1
            refused(image, {**proof, name: altered}, f"`{name}` altered at {shape}")
        other = {"image": random.standard_normal(shape).astype(np.float32)}
        refused(other, proof, f"the proof of another input at {shape}")
        if shape[0] > 1:
            # What would be broadcast: everything of one sample only.
            one = run(model.files["prover"], {"image": image["image"][:1]})
            same = {"image": np.repeat(image["image"][:1], shape[0], axis=0)}
            misshapen(model, one, same, keys[0])
        if previous is not None:
            misshapen(model, previous, image, keys[0])
        previous = proof

    # What our own nodes look like in other operator sets.
    for opset in OPSETS:
        onnx.save(network(opset), path)
        must("compile", str(path), "--preset", "fast", "--input", "image=1,3,24,20")
        must("export", str(path), "--out", str(folder / "exported"))
        model = Model(folder / "exported")
        image = {"image": random.standard_normal(SHAPES[1]).astype(np.float32)}
        proof, key = run(model.files["prover"], image), model.key()
        require(model.judge(proof, image, key)["nomopoly.verdict"], f"operator set {opset}")
        proof["conv4"].flat[7] += 1
        require(not model.judge(proof, image, key)["nomopoly.verdict"], f"operator set {opset}")
        in_rust(image["image"], proof, 1, "REJECTED")

    check_scalars(folder, must)
    sketched = sum(o["checked_by"] == "sketch" for o in model.interface["operations"])
    print(json.dumps({"shapes": len(SHAPES), "sketched": sketched,
                      "operations": len(model.interface["operations"])}))


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        sys.exit(1)
