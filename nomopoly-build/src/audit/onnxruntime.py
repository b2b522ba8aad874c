"""Runs a model in ONNX Runtime, one sample after another in one thread.

    python SCRIPT FOLDER

FOLDER/request.json says what to run:

    {"model": "model.onnx", "samples": n, "inputs": [{"name": .., "dtype": "<f4", "shape": [..]}]}

FOLDER/input0, input1, .. hold the elements of each input, sample after sample, in row-major order
and without a header; dtypes are NumPy's. FOLDER/output0, .. are written likewise, and at last
FOLDER/answer.json, which says what they are:

    {"version": "1.32.0", "outputs": [{"name": .., "dtype": "<f4", "shape": [..]}]}

A request whose model is null asks for the version only.
"""

import json
import math
import sys
from pathlib import Path

try:
    import numpy as np
    import onnxruntime
except ImportError as missing:
    sys.exit(str(missing))


def session_for(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class Input:
    """The file of one input, read as its samples are run."""

    def __init__(self, path, info):
        self.file = open(path, "rb")
        self.name = info["name"]
        self.dtype = np.dtype(info["dtype"])
        self.shape = info["shape"]
        self.bytes = self.dtype.itemsize * math.prod(self.shape)

    def next(self):
        return np.frombuffer(self.file.read(self.bytes), self.dtype).reshape(self.shape)


class Output:
    """The file of one output, written as its samples come."""

    def __init__(self, path, name):
        self.file = open(path, "wb")
        self.name = name
        self.dtype = self.shape = None

    def append(self, value):
        value = np.asarray(value)
        if value.dtype.kind not in "fiub":
            raise TypeError(f"output {self.name} is no tensor of numbers")
        if self.dtype is None:
            self.dtype = value.dtype.newbyteorder("<")
            self.shape = value.shape
        if self.shape != value.shape:
            raise ValueError(f"output {self.name} had shape {self.shape}, now {value.shape}")
        self.file.write(value.astype(self.dtype, copy=False).tobytes())

    def info(self):
        """Ends the file and says what it holds."""
        self.file.close()
        return {"name": self.name, "dtype": self.dtype.str, "shape": self.shape}


def run(folder, request):
    session = session_for(folder / request["model"])
    inputs = [Input(folder / f"input{i}", info) for i, info in enumerate(request["inputs"])]
    values = enumerate(session.get_outputs())
    outputs = [Output(folder / f"output{i}", value.name) for i, value in values]
    for sample in range(request["samples"]):
        feed = {item.name: item.next() for item in inputs}
        try:
            for output, value in zip(outputs, session.run(None, feed)):
                output.append(value)
        except Exception as error:
            raise RuntimeError(f"sample {sample}: {error}") from error
    return [output.info() for output in outputs]


def main():
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    outputs = []
    if request["model"] is not None:
        try:
            outputs = run(folder, request)
        except Exception as error:
            sys.exit(f"{type(error).__name__}: {error}")
    answer = {"version": onnxruntime.__version__, "outputs": outputs}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
