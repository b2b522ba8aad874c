"""Tests of the host's answers to requests that no page of ours sends. No browser is needed.

    target/browser/venv/bin/python examples/browser/test_host.py
"""

import http.client
import json
import os
import pathlib
import threading
import unittest

import host
import numpy
import safetensors

EXPORTED = pathlib.Path(os.environ.get("NOMOPOLY_EXPORTED", host.BUILT / "digits"))


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = host.Server(0, EXPORTED)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    def request(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=5)
        self.addCleanup(connection.close)
        connection.putrequest(method, path)
        headers = headers or ({"Content-Length": len(body)} if body is not None else {})
        for name, value in headers.items():
            connection.putheader(name, str(value))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()

    def refused(self, status, reason, *args, **kwargs):
        got, body = self.request(*args, **kwargs)
        answer = json.loads(body)
        self.assertEqual((got, answer["error"]), (status, reason), answer)
        self.assertTrue(answer["message"])

    def test_bad_requests_are_named(self):
        image = numpy.zeros(host.SHAPE, numpy.float32)
        nan = image.copy()
        nan[0, 0, 0, 0] = numpy.nan

        def body(tensors, **metadata):
            return safetensors.encode(tensors, metadata)

        for reason, data in [
            ("unreadable", b""),
            ("unreadable", b"\xff" * 100),
            ("unreadable", body({"image": image})[:-1]),
            ("unreadable", b"\x02" + b"\0" * 7 + b"[]"),
            ("unreadable", b"\x0e" + b"\0" * 7 + b'{"image":null}'),
            ("unknown_cheat", body({"image": image}, cheat="other")),
            ("wrong_tensors", body({})),
            ("wrong_tensors", body({"image": image, "more": image})),
            ("wrong_shape", body({"image": image.reshape(8, 8)})),
            ("wrong_shape", body({"image": image.astype(numpy.uint8)})),
            ("out_of_range", body({"image": image + 2})),
            ("out_of_range", body({"image": nan})),
        ]:
            with self.subTest(reason=reason):
                self.refused(400, reason, "POST", "/infer", data)
        self.refused(413, "too_large", "POST", "/infer", b"x" * 5000)
        self.refused(413, "too_large", "POST", "/infer", headers={"Content-Length": "9" * 30})
        self.refused(411, "no_length", "POST", "/infer", headers={"Transfer-Encoding": "chunked"})
        self.refused(411, "no_length", "POST", "/infer", headers={"Content-Length": "-1"})
        self.refused(404, "not_found", "POST", "/else", b"")

    def test_only_what_the_page_needs_is_served(self):
        for path in [
            "/exported/prover.onnx",
            "/../host.py",
            "/host.py",
            "/ort/../../../../README.md",
            "/%2e%2e/host.py",
            "/exported/",
            "/.index.html",
        ]:
            with self.subTest(path=path):
                self.refused(404, "not_found", "GET", path)
        self.assertEqual(self.request("GET", "/")[0], 200)


if __name__ == "__main__":
    unittest.main()
