"""Tests of the page, in the system's Chromium without a window, against the host of this folder.

    examples/browser/setup.sh --test
    target/browser/venv/bin/python examples/browser/test_page.py

Writes screenshots to target/browser/screenshots. Where there is no Chromium nothing is tested, and that is
said; with REQUIRE_BROWSER=1 it is a failure.
"""

import json
import sys
import threading
import unittest

import chromium
import host
import numpy
import safetensors
from case import EXPORTED, Case

# Here to be run: unittest takes every test that this module knows.
from test_files import Files, OtherModels  # noqa: F401
from test_use import Drawing, Presentation  # noqa: F401

CHEATS = [cheat for cheat in host.CHEATS if cheat != "honest"]


class Answers(Case):
    def test_honest_answers_are_accepted_and_right(self):
        self.open()
        for turn in range(4):
            for label in range(10):
                self.load(label)
                state, _, text = self.ask()
                self.assertEqual(state, "accepted", text)
                # The model itself is wrong about some: what the page shows must be what the model says.
                levels = self.server.samples[turn * 10 + label]["levels"]
                image = numpy.array(levels, numpy.float32).reshape(host.SHAPE) / 16
                logits = self.server.host.run(image)[self.server.host.answer]
                self.assertIn(f"says {logits.argmax()},", text)
                self.right = getattr(self, "right", 0) + (logits.argmax() == label)
            self.page.click("#others")
        self.assertGreaterEqual(self.right, 38, "of 40 test images")
        self.assertEqual(self.key_number(), 1)
        self.screenshot("desktop")

    def test_every_cheat_is_refused_and_ends_the_key(self):
        self.open()
        # The first is one that the host has seen before all others.
        for number, label in enumerate([3, 5, 8]):
            for cheat in CHEATS:
                with self.subTest(cheat=cheat, label=label):
                    self.load(label)
                    before = self.key_number()
                    state, reason, text = self.ask(cheat)
                    self.assertEqual((state, reason), ("refused", "operations"), text)
                    self.assertEqual(self.key_number(), before + 1)
                    self.assertIn("refused", self.page.inner_text("#classes-title"))
                    if number == 0:
                        self.screenshot(f"cheat-{cheat}")
        self.assertEqual(self.ask()[0], "accepted", "an honest answer after all that")

    def test_an_edit_of_any_tensor_is_refused(self):
        self.open()
        self.load(4)
        for at, name in enumerate(self.server.host.outputs):
            if name == "nomopoly.identity":
                continue

            def alter(tensors):
                values = tensors[name]
                values.flat[values.size // 3] += 0.05 * numpy.linalg.norm(values)

            with self.subTest(name=name):
                self.tamper(alter)
                state, reason, text = self.ask()
                self.assertEqual((state, reason), ("refused", "operations"), text)

    def test_what_is_no_answer_is_named(self):
        self.open()
        self.load(6)
        inner = self.server.host.inner

        def drop(tensors):
            del tensors[inner]

        def rename(tensors):
            tensors["conv9"] = tensors.pop(inner)

        def add(tensors):
            tensors["extra"] = numpy.zeros(3, numpy.float32)

        def reshape(tensors):
            tensors[inner] = tensors[inner].reshape(-1)

        def retype(tensors):
            tensors[inner] = numpy.zeros(tensors[inner].shape, numpy.uint8)

        def put(value):
            def alter(tensors):
                tensors[inner].flat[5] = value

            return alter

        def identity(tensors):
            tensors["nomopoly.identity"][3] ^= 1

        for alter, reason, said in [
            (drop, "missing-tensor", f"lacks {inner}"),
            (rename, "missing-tensor", "holds conv9"),
            (add, "unexpected-tensor", "extra"),
            (reshape, "wrong-shape", inner),
            (retype, "wrong-type", inner),
            (put(numpy.nan), "not-finite", inner),
            (put(-numpy.inf), "not-finite", inner),
            (identity, "other-model", "another model"),
            (lambda tensors: b"", "unreadable", "length"),
            (lambda tensors: b"\xff" * 64, "unreadable", "longer"),
            (lambda tensors: safetensors.encode(tensors, {})[:-4], "unreadable", "shape"),
            (lambda tensors: safetensors.encode(tensors, {}) + b"\0" * 4, "unreadable", "no tensor"),
            (lambda tensors: b"\2" + b"\0" * 7 + b"[]", "missing-tensor", "lacks"),
            (lambda tensors: b"\4" + b"\0" * 7 + b"null", "unreadable", "object"),
        ]:
            with self.subTest(reason=reason, said=said):
                self.tamper(alter)
                before = self.key_number()
                state, got, text = self.ask()
                self.assertEqual((state, got), ("refused", reason), text)
                self.assertIn(said, text)
                self.assertEqual(self.key_number(), before + 1)

    def test_another_size_of_an_open_dimension_is_refused(self):
        self.open()
        self.load(6)
        contract = json.loads((EXPORTED / "export.json").read_text())
        operations = [operation["name"] for operation in contract["operations"]]
        for name in [self.server.host.inner, self.server.host.answer]:

            def alter(tensors):
                tensors[name] = numpy.repeat(tensors[name], 2, axis=0)

            with self.subTest(name=name):
                self.tamper(alter)
                state, reason, text = self.ask()
                self.assertEqual(state, "refused", text)
                # Found by the check of shapes, or since verifier.onnx cannot go on: in a node with an operation's name.
                self.assertIn(reason, ["wrong-shape", "verifier-failed"])
                self.assertTrue("shapes" in text or any(operation in text for operation in operations), text)

    def test_a_page_without_a_key_judges_nothing(self):
        # The key ends with a refusal; here no new one can be drawn.
        self.open()
        self.load(1)
        self.page.evaluate("() => (crypto.getRandomValues = () => { throw new Error('no randomness'); })")
        # The image changes while the host is asked, and after it.
        self.page.route("**/infer", lambda route: (self.load(5), route.continue_()))
        state, reason, text = self.ask("altered")
        self.assertEqual((state, reason), ("refused", "operations"), text)
        self.assertTrue(self.page.is_disabled("#send"))
        self.assertIn("no key", self.page.inner_text("#key-note"))
        self.load(2)
        self.assertEqual(self.verdict()[0], "refused", "what cannot be asked is not said to be ready")

    def test_tensors_whose_names_are_numbers(self):
        self.open()
        tensors = {"b": numpy.arange(3, dtype=numpy.float32), "191": numpy.arange(2, dtype=numpy.int64)}
        read = """async (bytes) => {
            const { tensors } = (await import("./safetensors.js")).decode(Uint8Array.from(bytes));
            return [...tensors].map(([name, { data }]) => [name, Array.from(data, Number)]);
        }"""
        found = self.page.evaluate(read, list(safetensors.encode(tensors, {})))
        self.assertEqual(found, [["b", [0, 1, 2]], ["191", [0, 1]]])

    def test_a_host_that_does_not_answer_is_named(self):
        self.open()
        self.load(1)
        refusal = json.dumps({"error": "too_large", "message": "at most 9 bytes"})
        for answer, said in [
            (lambda route: route.abort(), "cannot be reached"),
            (lambda route: route.fulfill(status=413, body=refusal), "at most 9 bytes (too_large)"),
            (lambda route: route.fulfill(status=502, body="<html>"), "status 502"),
            (lambda route: route.fulfill(status=200, body=b"x" * 1_000_001), "sent more"),
        ]:
            with self.subTest(said=said):
                self.page.unroute("**/infer")
                self.page.route("**/infer", answer)
                state, reason, text = self.ask()
                self.assertEqual((state, reason), ("failed", "host"), text)
                self.assertIn(said, text)
                self.assertEqual(self.key_number(), 1)
        self.page.unroute("**/infer")
        self.assertEqual(self.ask()[0], "accepted")
        self.expect_network_errors()


class Secrets(Case):
    def test_the_key_stays_in_memory(self):
        requests = []
        self.page.on("request", lambda request: requests.append(request))
        self.open()
        self.load(9)
        self.ask()
        self.ask("lazy")
        origin = f"http://127.0.0.1:{self.server.server_port}/"
        for request in requests:
            self.assertTrue(request.url.startswith(origin), request.url)
            self.assertEqual(request.method, "POST" if request.url.endswith("/infer") else "GET")
            self.assertLess(len(request.post_data_buffer or b""), 600)
        stored = "[localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length]"
        self.assertEqual(self.page.evaluate(f"(async () => {stored})()"), [0, 0, "", 0])

    def test_the_numbers_are_standard_normal(self):
        self.open()
        draw = "async (n) => Array.from((await import('./key.js')).standardNormals(n))"
        numbers = numpy.array(self.page.evaluate(draw, 100_001))
        self.assertTrue(numpy.isfinite(numbers).all())
        # Five standard errors each: one run in a million fails by chance.
        size = len(numbers)
        self.assertLess(abs(numbers.mean()), 5 / size**0.5)
        self.assertLess(abs(numbers.var() - 1), 5 * (2 / size) ** 0.5)
        self.assertLess(abs((numbers**3).mean()), 5 * (15 / size) ** 0.5)
        self.assertLess(abs((numbers**4).mean() - 3), 5 * (96 / size) ** 0.5)
        self.assertLess(abs((numbers[1:] * numbers[:-1]).mean()), 5 / size**0.5)
        self.assertGreater(len(set(numbers.tolist())), 0.99 * size)


def main():
    if (status := chromium.skip("the page tests were")) is not None:
        return status
    Case.server = host.Server(0, EXPORTED)
    threading.Thread(target=Case.server.serve_forever, daemon=True).start()
    with chromium.launch() as Case.browser:
        program = unittest.main(exit=False)
    result = program.result
    # Several parts of one test may fail; it counts once.
    failed = len({getattr(test, "test_case", test) for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
