"""Writes confusion.json: confusion matrices and classification reports of scikit-learn. See README.md."""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import classification_report, confusion_matrix


def case(name, classes, truth, predicted):
    labels = list(range(classes))
    return {
        "name": name,
        "classes": classes,
        "truth": [int(x) for x in truth],
        "predicted": [int(x) for x in predicted],
        "matrix": confusion_matrix(truth, predicted, labels=labels).tolist(),
        "report": classification_report(truth, predicted, labels=labels, output_dict=True, zero_division=0),
    }


random = np.random.default_rng(42)
truth = random.choice(5, 60, p=[0.4, 0.3, 0.15, 0.1, 0.05])
guess = np.where(random.random(60) < 0.7, truth, random.integers(0, 5, 60))
cases = [
    case("five unequal classes", 5, truth, guess),
    case("a class that is never given and one that never occurs", 4, [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0, 3]),
    case("two classes", 2, [0, 1, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1, 1]),
]
text = ",\n".join(json.dumps(case, sort_keys=True) for case in cases)
Path(__file__).with_suffix(".json").write_text(f"[\n{text}\n]\n")
