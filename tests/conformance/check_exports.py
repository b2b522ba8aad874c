"""Runs the exported ONNX files of a registry in ONNX Runtime.

    python tests/conformance/check_exports.py ops

Needs onnx, onnxruntime and numpy. For every entry (a folder with a `*_prover.onnx`):

- the three files pass ONNX's full check, which infers every shape, and use its standard domain;
- prover and verifier agree: what the prover says of random inputs, of zeros and of very small
  and very large inputs scores at least 0.5;
- the adversary's pair, an output with relative noise of 1e-2 and claims that are not finite
  score less;
- where the folder holds `claims.json` (the export tests write it), the verifier scores these
  claims as the Rust runtime did.

Entries of the baseline architecture certify nothing: their scores need only be numbers between
0 and 1, and 0 for claims that are not finite. Prints a line per entry and a summary; the exit
code is 1 if an entry failed, 2 if there was none.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROLES = ("prover", "verifier", "adversary")
HONEST_SCALES = (0.0, 1e-15, 1e-3, 1.0, 1e3, 1e15)
FAKE_SCALES = (1e-3, 1.0, 1e3)
NOISE = 1e-2
SCORE_TOLERANCE = 1e-3


class Failure(Exception):
    """What is wrong with an entry."""


def require(condition, message):
    if not condition:
        raise Failure(message)


def properties(model):
    return {prop.key: prop.value for prop in model.metadata_props}


class File:
    """One exported file: checked, and ready to run."""

    def __init__(self, path, role):
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        domains = {node.domain for node in model.graph.node}
        domains |= {opset.domain for opset in model.opset_import}
        require(domains <= {"", "ai.onnx"}, f"{path.name} uses domains {sorted(domains)}")
        self.properties = properties(model)
        require(self.properties.get("nomopoly.role") == role, f"{path.name} is no {role}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {value.name: tuple(value.shape) for value in self.session.get_inputs()}

    def run(self, **tensors):
        return self.session.run(None, tensors)


class Entry:
    def __init__(self, folder):
        self.folder = folder
        self.files = {}
        for role in ROLES:
            paths = sorted(folder.glob(f"*_{role}.onnx"))
            require(len(paths) == 1, f"{len(paths)} files end in _{role}.onnx, expected 1")
            self.files[role] = File(paths[0], role)
        ids = {file.properties.get("nomopoly.id") for file in self.files.values()}
        require(len(ids) == 1, f"the files are of {len(ids)} operations")
        self.judges = self.files["verifier"].properties.get("nomopoly.architecture") == "residual"

    def random_inputs(self, random, scale):
        shapes = self.files["prover"].inputs
        return {
            name: (random.standard_normal(shape) * scale).astype(np.float32)
            for name, shape in shapes.items()
        }

    def score(self, inputs, y, proof):
        (score,) = self.files["verifier"].run(**inputs, y=y, proof=proof)
        require(score.shape == (1, 1), f"a score has shape {score.shape}")
        score = float(score[0, 0])
        require(0.0 <= score <= 1.0, f"a score is {score}")
        return score

    def check_honest(self, random):
        """Returns the lowest honest score."""
        lowest = 1.0
        for scale in HONEST_SCALES:
            inputs = self.random_inputs(random, scale)
            y, proof = self.files["prover"].run(**inputs)
            require(np.isfinite(y).all() and np.isfinite(proof).all(), f"not finite at {scale:g}")
            score = self.score(inputs, y, proof)
            if self.judges:
                require(score >= 0.5, f"honest at scale {scale:g} scores {score:.4f}")
            lowest = min(lowest, score)
        return lowest

    def check_fakes(self, random):
        """Returns the highest score of a fake."""
        highest = 0.0
        for scale in FAKE_SCALES:
            inputs = self.random_inputs(random, scale)
            y, proof = self.files["prover"].run(**inputs)
            fake_y, fake_proof = self.files["adversary"].run(**inputs)
            require(fake_y.shape == y.shape, f"the adversary's output has shape {fake_y.shape}")
            noise = random.standard_normal(y.shape)
            noise *= NOISE * np.linalg.norm(y) / max(np.linalg.norm(noise), 1e-30)
            fakes = [
                ("the adversary's pair", fake_y, fake_proof),
                ("the adversary's output", fake_y, proof),
                ("a noisy output", (y + noise).astype(np.float32), proof),
            ]
            for what, claimed_y, claimed_proof in fakes:
                score = self.score(inputs, claimed_y, claimed_proof)
                if self.judges:
                    require(score < 0.5, f"{what} at scale {scale:g} scores {score:.4f}")
                highest = max(highest, score)
            for value in (np.nan, np.inf, -np.inf):
                for place in range(2):
                    claim = [y.copy(), proof.copy()]
                    claim[place].flat[-1] = value
                    score = self.score(inputs, *claim)
                    require(score < 0.5, f"a claim that holds {value} scores {score:.4f}")
        return highest

    def check_claims(self):
        """Returns the largest difference from the runtime's scores, if there are any."""
        path = self.folder / "claims.json"
        if not path.exists():
            return None
        verifier, worst = self.files["verifier"], 0.0
        names = list(verifier.inputs)
        for claim in json.loads(path.read_text()):
            flat = [*claim["inputs"], claim["y"], claim["proof"]]
            tensors = {
                name: np.array(values, np.float32).reshape(verifier.inputs[name])
                for name, values in zip(names, flat, strict=True)
            }
            (score,) = verifier.run(**tensors)
            worst = max(worst, abs(float(score[0, 0]) - claim["score"]))
        require(worst < SCORE_TOLERANCE, f"scores differ from the runtime's by {worst:.1e}")
        return worst


def check(folder, seed):
    """A line about a good entry; raises Failure for a bad one."""
    entry = Entry(folder)
    random = np.random.default_rng(seed)
    honest, fake = entry.check_honest(random), entry.check_fakes(random)
    line = f"honest >= {honest:.4f}, fakes <= {fake:.4f}"
    differs = entry.check_claims()
    return line if differs is None else f"{line}, runtime within {differs:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("registry", type=Path, help="folder of entries, for example ops")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (default 0)")
    arguments = parser.parse_args()
    folders = sorted({path.parent for path in arguments.registry.glob("*/*.onnx")})
    passed = failed = 0
    for folder in folders:
        try:
            line = check(folder, arguments.seed)
            passed += 1
            print(f"ok    {folder.name}: {line}")
        except Exception as error:  # whatever an entry does, the others are checked too
            failed += 1
            message = str(error).strip() or type(error).__name__
            print(f"FAIL  {folder.name}: {message.splitlines()[0]}")
    print(f"{passed} passed, {failed} failed")
    if not folders:
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
