"""A list of cases, written as one safetensors file: tensors under `<case>/<name>`, the list as JSON in the metadata."""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file


class Book:
    def __init__(self):
        self.cases, self.tensors = [], {}

    def add(self, case, op, attributes, tensors):
        if any(c["case"] == case for c in self.cases):
            raise ValueError(f"two cases are called {case}")
        self.cases.append({"case": case, "op": op, "attributes": attributes})
        for name, value in tensors.items():
            self.tensors[f"{case}/{name}"] = np.array(value, order="C")  # a copy of its own: two names may share memory

    def save(self, name):
        path = pathlib.Path(__file__).parent / f"{name}.safetensors"
        save_file(self.tensors, path, metadata={"cases": json.dumps(self.cases)})  # one key: of several the order varies
        path.chmod(0o644)
        print(f"{path.name}: {len(self.cases)} cases, {path.stat().st_size} bytes")
