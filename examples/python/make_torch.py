"""PyTorch: a convolutional network that reads handwritten digits, exported by torch.onnx.export.

    python make_torch.py FOLDER    writes FOLDER/torch.onnx and FOLDER/torch.npz
"""

import pathlib
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)

digits = load_digits()
images = (digits.images / 16).astype(np.float32)[:, None]
train_x, test_x, train_y, test_y = train_test_split(
    images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
x, y = torch.from_numpy(train_x), torch.from_numpy(train_y)
for _ in range(20):
    for batch in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    right = model(torch.from_numpy(test_x)).argmax(1).numpy() == test_y
print(f"torch: {right.mean():.1%} of {len(right)} held-out digits are read correctly")

torch.onnx.export(
    model,
    (torch.from_numpy(test_x[:2]),),
    folder / "torch.onnx",
    input_names=["image"],
    output_names=["logits"],
    dynamic_shapes=({0: torch.export.Dim("batch")},),
    external_data=False,  # one file
    dynamo=True,
    verbose=False,
)
np.savez(folder / "torch.npz", image=test_x[:100])
