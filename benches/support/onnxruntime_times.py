"""Times inferences in ONNX Runtime when it is told to, so that they can be taken by turns.

    python -c SCRIPT MODEL INPUTS OUTPUT LEAST THREADS

INPUTS is JSON: a list of [name, NumPy type, shape, file with the elements in row-major order]. The
elements of the model's first output are written to OUTPUT. Then the version is printed and, for each line that comes
in, the seconds of an inference: the mean of as many in a row as span LEAST seconds.
"""

import json
import sys
import time

try:
    import numpy as np
    import onnxruntime
except ImportError as missing:
    sys.exit(str(missing))

model, inputs, output_file, least, threads = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
options.inter_op_num_threads = 1
options.log_severity_level = 3
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feed = {
    name: np.fromfile(file, dtype).reshape(shape) for name, dtype, shape, file in json.loads(inputs)
}
session.run(None, feed)[0].astype("<f4").tofile(output_file)
print(onnxruntime.__version__, flush=True)

for _ in sys.stdin:
    total, calls = 0.0, 0
    while calls == 0 or total < float(least):
        start = time.perf_counter()
        result = session.run(None, feed)
        total += time.perf_counter() - start
        del result
        calls += 1
    print(total / calls, flush=True)
