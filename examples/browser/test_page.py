"""Tests of the page, in the system's Chromium without a window, against the host of this folder.

    examples/browser/setup.sh --test
    target/browser/venv/bin/python examples/browser/test_page.py

Writes screenshots to target/browser/screenshots. Where there is no Chromium nothing is tested, and that is
said; with REQUIRE_BROWSER=1 it is a failure.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import statistics
import sys
import threading
import unittest

import host
import numpy
import safetensors

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
EXPORTED = pathlib.Path(os.environ.get("NOMOPOLY_EXPORTED", host.BUILT / "digits"))
SCREENSHOTS = host.BUILT / "screenshots"
CHEATS = [cheat for cheat in host.CHEATS if cheat != "honest"]
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}


class Case(unittest.TestCase):
    """One host and one browser for all tests; a fresh page for each."""

    browser = server = None

    def setUp(self):
        self.context = self.browser.new_context(viewport=DESKTOP)
        self.addCleanup(self.context.close)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def tearDown(self):
        self.assertEqual(self.complaints, [], "the page wrote to the console")

    def expect_network_errors(self):
        """The browser itself complains about answers such as 404."""
        self.complaints = [text for text in self.complaints if "Failed to load resource" not in text]

    def open(self, until="idle"):
        self.page.goto(f"http://127.0.0.1:{self.server.server_port}/")
        self.page.wait_for_selector("#verdict:not([data-state=busy])")
        self.page.wait_for_selector("#samples button")
        self.assertEqual(self.verdict()[0], until, self.verdict())

    def load(self, label):
        """Loads a test image of the digit `label`."""
        self.page.get_by_role("button", name=re.compile(f"^Load a {label},")).click()

    def ask(self, cheat="honest"):
        """Asks the host about the image, and waits for the verdict."""
        self.page.check(f"input[value={cheat}]")
        self.page.click("#send")
        self.page.wait_for_selector("#send:not([aria-disabled])")
        return self.verdict()

    def verdict(self):
        """State, reason and text of the verdict."""
        data = self.page.evaluate("({...document.getElementById('verdict').dataset})")
        return data["state"], data.get("reason", ""), self.page.inner_text("#verdict-text")

    def key_number(self):
        return int(re.search(r"Key number (\d+)", self.page.inner_text("#key-note"))[1])

    def tamper(self, alter):
        """Lets `alter` change every answer, a dict of arrays; it may also return other bytes."""

        def handle(route):
            response = route.fetch()
            tensors, metadata = safetensors.decode(response.body())
            tensors = {name: array.copy() for name, array in tensors.items()}
            body = alter(tensors)
            body = safetensors.encode(tensors, metadata) if body is None else body
            route.fulfill(status=200, body=body)

        self.page.unroute("**/infer")
        self.page.route("**/infer", handle)

    def replace_file(self, name, body, fit_digest=False):
        """Serves `body` for an exported file; with `fit_digest`, export.json names its digest."""
        self.page.route(f"**/exported/{name}", lambda route: route.fulfill(status=200, body=body))
        if fit_digest:
            contract = json.loads((EXPORTED / "export.json").read_text())
            contract["files"][name]["sha256"] = hashlib.sha256(body).hexdigest()
            self.replace_file("export.json", json.dumps(contract).encode())

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


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
        for number, label in enumerate([2, 5, 8]):
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
        for name in [self.server.host.inner, self.server.host.answer]:

            def alter(tensors):
                tensors[name] = numpy.repeat(tensors[name], 2, axis=0)

            with self.subTest(name=name):
                self.tamper(alter)
                state, reason, text = self.ask()
                self.assertEqual(state, "refused", text)
                # Found by a check of shapes, or since verifier.onnx cannot be run at all.
                self.assertIn(reason, ["wrong-shape", "operations", "verifier-failed"])

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


class Files(Case):
    """A page whose files do not fit together accepts nothing."""

    def refuses_to_start(self, reason, said):
        self.open(until="failed")
        _, got, text = self.verdict()
        self.assertEqual(got, reason, text)
        self.assertIn(said, text)
        self.assertTrue(self.page.is_disabled("#send"))

    def identity(self):
        return self.server.host.run(numpy.zeros(host.SHAPE, numpy.float32))["nomopoly.identity"].tobytes()

    def contract(self, **changes):
        contract = json.loads((EXPORTED / "export.json").read_text()) | changes
        self.replace_file("export.json", json.dumps(contract).encode())

    def test_edited_files(self):
        for name in ["verifier.onnx", "key.onnx"]:
            with self.subTest(name=name):
                data = bytearray((EXPORTED / name).read_bytes())
                data[len(data) // 2] ^= 1
                self.page.unroute_all()
                self.replace_file(name, bytes(data))
                self.refuses_to_start("file-altered", name)

    def test_files_that_are_none(self):
        self.replace_file("verifier.onnx", b"not a model", fit_digest=True)
        self.refuses_to_start("unreadable", "verifier.onnx")

    def test_missing_file(self):
        self.page.route("**/exported/key.onnx", lambda route: route.fulfill(status=404, body=""))
        self.refuses_to_start("file-missing", "key.onnx")
        self.expect_network_errors()

    def test_schema(self):
        for schema, said in [(0, "older"), (2, "newer"), (None, "older")]:
            with self.subTest(schema=schema):
                self.page.unroute_all()
                self.contract(schema=schema)
                self.refuses_to_start("schema", said)

    def test_no_json(self):
        self.replace_file("export.json", b"<html>")
        self.refuses_to_start("unreadable", "export.json")

    def test_baked_key(self):
        self.contract(secret=True)
        self.refuses_to_start("secret-file", "key inside")

    def test_another_kind_of_model(self):
        self.contract(inputs=[{"name": "tokens", "dtype": "i64", "shape": [1, None]}])
        self.refuses_to_start("other-model", "something else")

    def test_key_of_another_model_with_other_operations(self):
        name = self.server.host.inner.encode()
        data = (EXPORTED / "key.onnx").read_bytes().replace(name, b"z" * len(name))
        self.replace_file("key.onnx", data, fit_digest=True)
        self.refuses_to_start("other-key", "another model")

    def test_key_of_another_model_with_the_same_operations(self):
        identity = self.identity()
        data = (EXPORTED / "key.onnx").read_bytes()
        self.assertEqual(data.count(identity), 1)
        self.replace_file("key.onnx", data.replace(identity, identity[::-1]), fit_digest=True)
        self.open()
        self.load(3)
        state, reason, text = self.ask()
        self.assertEqual((state, reason), ("failed", "other-key"), text)
        self.assertTrue(self.page.is_disabled("#send"))


class Drawing(Case):
    def sent(self):
        """What the page sends when asked, as levels from 0 to 16."""
        with self.page.expect_request("**/infer") as request:
            self.assertEqual(self.ask()[0], "accepted")
        tensors, _ = safetensors.decode(request.value.post_data_buffer)
        return (tensors["image"].reshape(8, 8) * 16).astype(int)

    def test_keyboard(self):
        self.open()
        self.page.focus("#grid [tabindex='0']")
        press = self.page.keyboard.press
        for key in ["ArrowRight"] * 4:
            press(key)
        for _ in range(8):
            press("Space")
            press("ArrowDown")
        press("Home")
        for key in ["+", "+", "+", "-", "ArrowRight", "Space", "Space", "ArrowUp", "End", "+", "ArrowRight"]:
            press(key)
        self.assertEqual(self.page.inner_text("#grid-status"), "Row 7, column 8: 2 of 16")
        expected = numpy.zeros((8, 8), int)
        expected[:, 4] = 16
        expected[7, 0], expected[6, 7] = 4, 2
        self.assertEqual(self.sent().tolist(), expected.tolist())
        self.assertEqual(self.page.locator("#grid [tabindex='0']").count(), 1)

    def test_all_by_keyboard(self):
        self.open()
        self.page.keyboard.press("Tab")
        for _ in range(40):
            if self.page.evaluate("document.activeElement.getAttribute('aria-label')?.startsWith('Load a 7')"):
                self.page.keyboard.press("Enter")
            if self.page.evaluate("document.activeElement.id") == "send":
                break
            self.page.keyboard.press("Tab")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#verdict[data-state=accepted]")
        self.assertIn("says 7", self.verdict()[2])

    def test_mouse(self):
        self.open()
        box = self.page.locator("#pad").bounding_box()
        mouse = self.page.mouse
        mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 4)
        mouse.down()
        mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] - 4, steps=5)
        mouse.up()
        mouse.move(box["x"], box["y"])
        levels = self.sent()
        self.assertTrue((levels.max(axis=1) > 4).all(), levels)
        self.assertFalse(levels[:, [0, 1, 6, 7]].any(), levels)
        self.assertIn("says 1,", self.verdict()[2])

    def test_samples_arrive_as_they_are(self):
        self.open()
        for label in range(10):
            self.load(label)
            self.assertEqual(self.sent().flatten().tolist(), self.server.samples[label]["levels"])

    def test_a_verdict_goes_with_its_image(self):
        self.open()
        self.load(0)
        self.ask()
        self.assertTrue(self.page.is_visible("#report"))
        self.page.click("#clear")
        self.assertFalse(self.page.is_visible("#report"))
        self.assertEqual(self.ask()[0], "idle", "an empty square is not sent")


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


class Presentation(Case):
    def assert_accessible(self):
        self.page.evaluate((host.BUILT / "axe/axe.min.js").read_text())
        found = self.page.evaluate("axe.run({rules: {'target-size': {enabled: true}}})")
        problems = [f"{v['id']}: {[n['target'] for n in v['nodes']]}" for v in found["violations"]]
        self.assertEqual(problems, [])

    def assert_no_sideways_scroll(self):
        widths = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(widths[0], widths[1])

    def test_desktop_and_dark(self):
        for scheme in ["light", "dark"]:
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.open()
            self.assert_accessible()
            for cheat in ["honest", "altered"]:
                self.load(3)
                self.ask(cheat)
                self.assert_accessible()
                if scheme == "dark":
                    self.screenshot(f"dark-{cheat}")

    def test_phone(self):
        self.page.set_viewport_size(PHONE)
        self.open()
        self.assert_no_sideways_scroll()
        for cheat in ["honest", "lazy"]:
            self.load(5)
            self.ask(cheat)
            self.assert_no_sideways_scroll()
            self.assert_accessible()
            self.screenshot(f"phone-{cheat}")
        self.assertTrue(self.page.evaluate("""() => {
            const box = document.getElementById("verdict").getBoundingClientRect();
            return box.top >= 0 && box.bottom <= innerHeight;
        }"""), "the verdict is in view")

    def test_cannot_check(self):
        self.page.set_viewport_size(PHONE)
        self.replace_file("export.json", b'{"schema": 7}')
        self.open(until="failed")
        self.assert_no_sideways_scroll()
        self.assert_accessible()
        self.screenshot("phone-cannot-check")

    def test_time_of_a_check(self):
        self.open()
        checks, trips = [], []
        for run in range(50):
            self.load(run % 10)
            self.assertEqual(self.ask()[0], "accepted")
            checks.append(float(self.page.get_attribute("#times", "data-check-ms")))
            trips.append(float(self.page.get_attribute("#times", "data-round-trip-ms")))
        print(
            f"check in the page: median of 50 answers {statistics.median(checks):.3f} ms "
            f"({min(checks):.3f} to {max(checks):.3f}); asking and receiving: {statistics.median(trips):.1f} ms"
        )


def unavailable():
    """Why no page can be tested here, if so."""
    if sync_playwright is None:
        return "Playwright is not installed: run examples/browser/setup.sh --test"
    if not any(map(shutil.which, BROWSERS)):
        return f"no Chromium on the PATH ({', '.join(BROWSERS)})"
    return None


def main():
    if reason := unavailable():
        print(f"browser example: the page tests were skipped: {reason}")
        return 1 if os.environ.get("REQUIRE_BROWSER") == "1" else 0
    Case.server = host.Server(0, EXPORTED)
    threading.Thread(target=Case.server.serve_forever, daemon=True).start()
    # Chromium does not run as root inside its sandbox.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    path = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        Case.browser = playwright.chromium.launch(executable_path=path, args=arguments)
        program = unittest.main(exit=False)
        Case.browser.close()
    result = program.result
    # Several parts of one test may fail; it counts once.
    failed = len({getattr(test, "test_case", test) for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
