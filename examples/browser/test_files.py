"""Tests of the page with files that do not fit together, and with such as other models have.

test_page.py runs them.
"""

import json
import pathlib
import tempfile

import host
import numpy
import onnx
from case import EXPORTED, Case
from onnx import TensorProto, helper


class Files(Case):
    """A page whose files do not fit together accepts nothing."""

    def identity(self):
        return self.server.host.run(numpy.zeros(host.SHAPE, numpy.float32))["nomopoly.identity"].tobytes()

    def test_edited_files(self):
        for name in ["verifier.onnx", "key.onnx"]:
            with self.subTest(name=name):
                data = bytearray((EXPORTED / name).read_bytes())
                data[len(data) // 2] ^= 1
                self.page.unroute_all()
                self.replace_file(name, bytes(data))
                self.refuses_to_start("file-altered", name)

    def test_page_without_digests(self):
        self.page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
        self.refuses_to_start("insecure", "https and localhost")

    def test_files_that_are_none(self):
        self.replace_files({"verifier.onnx": b"not a model"})
        self.refuses_to_start("unreadable", "verifier.onnx")

    def test_missing_file(self):
        self.page.route("**/exported/key.onnx", lambda route: route.fulfill(status=404, body=""))
        self.refuses_to_start("file-missing", "key.onnx")
        self.expect_network_errors()

    def test_schema(self):
        for schema, said in [(1, "older"), (3, "newer"), (None, "older")]:
            with self.subTest(schema=schema):
                self.page.unroute_all()
                self.replace_files({}, schema=schema)
                self.refuses_to_start("schema", said)

    def test_no_json(self):
        self.replace_file("export.json", b"<html>")
        self.refuses_to_start("unreadable", "export.json")

    def test_baked_key(self):
        self.replace_files({}, secret=True)
        self.refuses_to_start("secret-file", "key inside")

    def test_another_kind_of_model(self):
        self.replace_files({}, inputs=[{"name": "tokens", "dtype": "i64", "shape": [1, None]}])
        self.refuses_to_start("other-model", "something else")

    def test_key_of_another_model_with_other_operations(self):
        name = self.server.host.inner.encode()
        data = (EXPORTED / "key.onnx").read_bytes().replace(name, b"z" * len(name))
        self.replace_files({"key.onnx": data})
        self.refuses_to_start("other-key", "another model")

    def test_key_of_another_model_with_the_same_operations(self):
        identity = self.identity()
        data = (EXPORTED / "key.onnx").read_bytes()
        self.assertEqual(data.count(identity), 1)
        self.replace_files({"key.onnx": data.replace(identity, identity[::-1])})
        self.open()
        self.load(3)
        state, reason, text = self.ask()
        self.assertEqual((state, reason), ("failed", "other-key"), text)
        self.assertTrue(self.page.is_disabled("#send"))


def weights_beside(name):
    """An exported file with its weights in another, as those of larger models are: both, by name."""
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(EXPORTED / name)
        onnx.save(model, pathlib.Path(folder, name), save_as_external_data=True, location=f"{name}.data")
        return {file.name: file.read_bytes() for file in pathlib.Path(folder).iterdir()}


def with_class(name):
    """verifier.onnx as if the model also gave the class of the output `name`, an integer: it is compared."""
    model = onnx.load(EXPORTED / "verifier.onnx")
    graph = model.graph
    nodes = [
        helper.make_node("ArgMax", [name], ["truth"], axis=1, keepdims=0),
        helper.make_node("Equal", ["class", "truth"], ["same"]),
        helper.make_node("Not", ["same"], ["different"]),
        helper.make_node("Cast", ["different"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["counted"], ["class.residuals"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Less", ["class.residuals", "half"], ["agrees"]),
        helper.make_node("Cast", ["agrees"], ["class.scores"], to=TensorProto.FLOAT),
    ]
    # Put in between, so that the verdict follows from all scores.
    for node in graph.node:
        nodes.append(node)
        if node.output[0] in ["nomopoly.scores", "nomopoly.residuals"]:
            whole = node.output[0]
            node.output[0] = whole.replace("nomopoly", "sketched")
            parts = [node.output[0], whole.replace("nomopoly", "class")]
            nodes.append(helper.make_node("Concat", parts, [whole], axis=0))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("class", TensorProto.INT64, ["n"]))
    for output in graph.output[:2]:
        output.type.tensor_type.shape.dim[0].dim_value += 1
    return model.SerializeToString()


class OtherModels(Case):
    """Stand-ins for what exports of other models hold and that of the digits does not."""

    def test_weights_beside_their_model(self):
        files = weights_beside("verifier.onnx") | weights_beside("key.onnx")
        self.assertEqual(len(files), 4)
        self.replace_files(files)
        self.open()
        self.load(3)
        self.assertEqual(self.ask()[0], "accepted")
        self.assertEqual(self.ask("altered")[0], "refused")
        for name in ["verifier.onnx.data", "key.onnx.data"]:
            with self.subTest(name=name):
                self.page.unroute_all()
                self.replace_files(files)
                self.replace_file(name, files[name] + b"?")
                self.refuses_to_start("file-altered", name)
                self.page.unroute_all()
                self.replace_files({other: files[other] for other in files if other != name}, files={})
                self.replace_file(name, files[name])
                self.refuses_to_start("unreadable", name.removesuffix(".data"))

    def test_output_that_is_compared(self):
        contract = json.loads((EXPORTED / "export.json").read_text())
        (answer,) = contract["outputs"]
        compared = {"name": "class", "kind": "ArgMax", "checked_by": "compared", "certified_deviation": None}
        self.replace_files(
            {"verifier.onnx": with_class(answer["name"])},
            outputs=[answer, {"name": "class", "dtype": "i64", "shape": [None]}],
            operations=[*contract["operations"], compared | {"sketches": 0}],
        )
        self.open()
        self.load(7)
        for add, kind, expected in [
            (0, numpy.int64, ("accepted", "")),
            (1, numpy.int64, ("refused", "operations")),
            (0, numpy.float32, ("refused", "wrong-type")),
        ]:

            def alter(tensors):
                tensors["class"] = (tensors[answer["name"]].argmax(axis=1) + add).astype(kind)

            with self.subTest(expected=expected):
                self.tamper(alter)
                state, reason, text = self.ask()
                self.assertEqual((state, reason), expected, text)
                if reason == "operations":
                    self.assertEqual(text, "class does not follow from what comes before.")
                if reason != "wrong-type":
                    cells = self.page.locator("#operations tbody tr").last.locator("th, td").all_inner_texts()
                    self.assertEqual([cells[1], cells[3].strip()], ["compared", str(add)])
