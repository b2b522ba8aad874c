"""What the tests of the page share: test_page.py runs them."""

import hashlib
import json
import os
import pathlib
import re
import unittest

import host
import safetensors

EXPORTED = pathlib.Path(os.environ.get("NOMOPOLY_EXPORTED", host.BUILT / "digits"))
SCREENSHOTS = host.BUILT / "screenshots"
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

    def refuses_to_start(self, reason, said):
        self.open(until="failed")
        _, got, text = self.verdict()
        self.assertEqual(got, reason, text)
        self.assertIn(said, text)
        self.assertTrue(self.page.is_disabled("#send"))

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

    def replace_file(self, name, body):
        """Serves `body` for an exported file."""
        self.page.route(f"**/exported/{name}", lambda route: route.fulfill(status=200, body=body))

    def replace_files(self, bodies, **changes):
        """Serves `bodies` by the names of their files, and an export.json that names their digests; with `changes`."""
        contract = json.loads((EXPORTED / "export.json").read_text()) | changes
        for name, body in bodies.items():
            contract["files"][name] = {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
            self.replace_file(name, body)
        self.replace_file("export.json", json.dumps(contract).encode())

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
