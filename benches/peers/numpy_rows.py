"""NumPy with OpenBLAS. Usage: numpy_rows.py gemm|elem THREADS"""
import os
import sys

what, threads = sys.argv[1], int(sys.argv[2])
os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
# What some machines set for an old NumPy slows a new one.
os.environ.pop("OPENBLAS_CORETYPE", None)
import numpy as np

import common


def product(a, b, a_stored, b_stored):
    a, b = (a.T if a_stored else a), (b.T if b_stored else b)
    c = np.empty((a.shape[0], b.shape[1]), "float32")
    return lambda: np.matmul(a, b, out=c)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    e /= e.sum(1, keepdims=True)
    return e


def calls(x, z):
    f = np.float32
    return [
        ("relu", lambda: np.maximum(x, f(0)), 8),
        ("exp", lambda: np.exp(x), 8),
        ("tanh", lambda: np.tanh(x), 8),
        ("sigmoid", lambda: f(1) / (f(1) + np.exp(-x)), 8),
        ("add", lambda: x + z, 12),
        ("mul scalar", lambda: x * f(1.5), 8),
        ("sum axis0", lambda: x.sum(0), 4),
        ("argmax axis1", lambda: x.argmax(1), 4),
    ]


def others(logits, square):
    return [
        ("softmax 256x1000", lambda: softmax(logits), 8 * logits.size),
        ("transpose 2048", lambda: np.ascontiguousarray(square.T), 8 * square.size),
    ]


if what == "gemm":
    common.products("numpy", threads, product)
else:
    common.elementwise("numpy", threads, calls, others)
