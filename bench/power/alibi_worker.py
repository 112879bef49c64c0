"""Runs in a virtual environment of its own, where alibi-detect is installed: requests on stdin, answers on stdout.

alibi-detect's licence forbids production use, so that nothing but this file imports it, in another process. A request
is a JSON line {"detector", "reference", "current", "seed"} with the paths of two .npy files; so is the answer.
"""

import json
import os
import sys
import warnings

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # the library prints; only answers go to the other side
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402 after its warnings are silenced
import torch  # noqa: E402 likewise
from alibi_detect.cd import ClassifierDrift, LearnedKernelDrift, LSDDDrift, MMDDrift, SpotTheDiffDrift  # noqa: E402
from alibi_detect.utils.pytorch.kernels import DeepKernel  # noqa: E402
from torch import nn  # noqa: E402

WIDTH, DEPTH = 32, 8  # the library leaves the networks to its user


def classifier(reference):
    net = nn.Sequential(nn.Linear(reference.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    return ClassifierDrift(reference, net, backend="pytorch", preds_type="logits")


def learned_kernel(reference):
    net = nn.Sequential(nn.Linear(reference.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, DEPTH))
    return LearnedKernelDrift(reference, DeepKernel(net), backend="pytorch")


DETECTORS = {
    "mmd": lambda reference: MMDDrift(reference, backend="pytorch"),
    "lsdd": lambda reference: LSDDDrift(reference, backend="pytorch"),
    "classifier": classifier,
    "learned_kernel": learned_kernel,
    "spot_the_diff": lambda reference: SpotTheDiffDrift(reference, backend="pytorch"),
}


def answer(request):
    np.random.seed(request["seed"])  # noqa: NPY002 the library draws from numpy's global generator
    torch.manual_seed(request["seed"])
    reference, current = (np.load(request[side]) for side in ("reference", "current"))
    found = DETECTORS[request["detector"]](reference).predict(current)["data"]
    return {"drift": bool(found["is_drift"]), "p_value": float(found["p_val"]), "distance": float(found["distance"])}


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 the process boundary: the other side names request and error
            found = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
