"""An audit that ran with ONNX Runtime: honest runs of every runtime are accepted, wrong outputs are not."""

import json
import pathlib
import sys


def main(path, recorded):
    audit = json.loads(pathlib.Path(path).read_text())
    failures = []
    runtimes = set()
    honest = [("the model", figures) for figures in audit["whole"]["honest"]]
    for operation in audit["operations"]:
        honest += [(operation["operation"], figures) for figures in operation["honest"]]
    for name, figures in honest:
        rejected = figures["rejected"]["learned"]
        runtimes.add(figures["runtime"])
        if rejected["errors"] or not rejected["samples"]:
            failures.append(f"{name}: honest runs of {figures['runtime']}: {rejected}")
    wrong = 0
    attacks = [("the model", attack) for attack in audit["whole"]["attacks"]]
    for operation in audit["operations"]:
        attacks += [(operation["operation"], attack) for attack in operation["attacks"]]
    for name, attack in attacks:
        if attack["attacker"] not in ("outsider", "host") or "learned" not in attack["accepted"]:
            continue
        accepted = attack["accepted"]["learned"]["wrong"]
        wrong += accepted["samples"]
        if accepted["errors"]:
            failures.append(f"{name}: {attack['attack']}: {accepted}")
    if not {"tract", "candle", "onnxruntime"} <= runtimes:
        failures.append(f"only {sorted(runtimes)} were run")
    kept = [json.loads(file.read_text()) for file in pathlib.Path(recorded).glob("*.json")]
    if audit not in kept:
        failures.append(f"{recorded} does not hold the audit")
    if not wrong:
        failures.append("no wrong output was tried")
    for failure in failures:
        print(failure, file=sys.stderr)
    tried = sum(figures["rejected"]["learned"]["samples"] for _, figures in honest)
    print(f"audit: {tried} honest runs of {', '.join(sorted(runtimes))} and {wrong} wrong claims")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
