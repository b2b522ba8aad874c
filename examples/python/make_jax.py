"""JAX (Flax): a small transformer that reads handwritten digits row by row, exported by jax2onnx.

    python make_jax.py FOLDER    writes FOLDER/jax.onnx and FOLDER/jax.npz
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

folder = pathlib.Path(sys.argv[1])

digits = load_digits()
train_x, test_x, train_y, test_y = train_test_split(
    (digits.images / 16).astype(np.float32), digits.target, test_size=0.25, random_state=0, stratify=digits.target
)


class Reader(nnx.Module):
    """Rows of eight pixels in, scores of ten digits out: one block of attention and one perceptron."""

    def __init__(self, width, rngs):
        self.embed = nnx.Linear(8, width, rngs=rngs)
        self.rows = nnx.Param(0.1 * jax.random.normal(rngs.params(), (8, width)))
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, width, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)
        self.head = nnx.Linear(8 * width, 10, rngs=rngs)

    def __call__(self, image):
        x = self.embed(image) + self.rows[...]
        x = x + self.attention(self.norm1(x))
        x = x + self.down(nnx.gelu(self.up(self.norm2(x))))
        return self.head(x.reshape(x.shape[0], -1))


model = Reader(32, nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(2e-3), wrt=nnx.Param)


@nnx.jit
def step(model, optimizer, x, y):
    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    optimizer.update(model, nnx.grad(loss)(model))


order = np.random.default_rng(0)
for _ in range(40):
    for batch in order.permutation(len(train_x))[:1344].reshape(-1, 32):  # batches of one size: compiled once
        step(model, optimizer, train_x[batch], train_y[batch])

right = np.asarray(model(jnp.asarray(test_x))).argmax(1) == test_y
print(f"jax: {right.mean():.1%} of {len(right)} held-out digits are read correctly")

to_onnx(
    model,
    inputs=[("batch", 8, 8)],
    input_names=["image"],
    output_names=["logits"],
    return_mode="file",
    output_path=folder / "jax.onnx",
)
np.savez(folder / "jax.npz", image=test_x[:100])
