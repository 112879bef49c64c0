"""alibi-detect's MMDDrift on saved rows, run by an interpreter of its own: python mmd_peer.py FOLDER PERMUTATIONS…

A bench-only program: the library's licence forbids production use, so that nothing else imports it. It builds the
detector once and predicts with every number of permutations named, on one thread, and prints a JSON line.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import numpy as np  # noqa: E402 after warnings are silenced
import torch  # noqa: E402 likewise
from alibi_detect.cd import MMDDrift  # noqa: E402 likewise


def status(field):
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main():
    torch.set_num_threads(1)
    folder, counts = Path(sys.argv[1]), [int(count) for count in sys.argv[2:]]
    reference, current = np.load(folder / "reference.npy"), np.load(folder / "current.npy")
    held = status("VmRSS")
    started, busy = time.perf_counter(), time.process_time()
    detector = MMDDrift(reference, backend="pytorch", n_permutations=1)
    built = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - busy}
    predicted = {}
    for count in counts:
        detector._detector.n_permutations = count
        started, busy = time.perf_counter(), time.process_time()
        detector.predict(current)
        predicted[count] = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - busy}
    peak = status("VmHWM")
    print(json.dumps({"built": built, "predicted": predicted, "peak_mib": peak, "growth_mib": peak - held}))


if __name__ == "__main__":
    main()
