"""scikit-learn: a scaler and a perceptron that tell benign from malignant tumours, exported by skl2onnx.

    python make_sklearn.py FOLDER    writes FOLDER/sklearn.onnx and FOLDER/sklearn.npz
"""

import pathlib
import sys

import numpy as np
import onnx
from skl2onnx import to_onnx
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

folder = pathlib.Path(sys.argv[1])

data, target = load_breast_cancer(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(
    data.astype(np.float32), target, test_size=0.25, random_state=0, stratify=target
)
model = make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=400, random_state=0))
model.fit(train_x, train_y)
print(f"sklearn: {model.score(test_x, test_y):.1%} of {len(test_y)} held-out tumours are classified correctly")

# Plain ONNX operators and tensors only: without the Scaler of `ai.onnx.ml` (a subtraction and a division
# take its place), without ZipMap (a list of dictionaries) and without the label, whose lookup is of
# `ai.onnx.ml` too: who has the probabilities takes the larger one.
exported = to_onnx(model, test_x[:1], options={"zipmap": False}, black_op={"Scaler"})
exported = select_model_inputs_outputs(exported, outputs=["probabilities"])
exported = onnx.shape_inference.infer_shapes(exported)  # the selection forgets the type of its outputs
(folder / "sklearn.onnx").write_bytes(exported.SerializeToString())
np.savez(folder / "sklearn.npz", X=test_x[:100])
