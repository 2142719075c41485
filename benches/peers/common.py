"""What the Python peers share: cases, timing, data, and one JSON line on stdout for each figure."""
import gc
import gzip
import json
import os
import time

import numpy as np

# Name, m, k, n, whether a and b are stored transposed.
PRODUCTS = [(f"sq{n}", n, n, n, False, False) for n in (64, 128, 256, 512, 1024, 2048)] + [
    ("32x784x300", 32, 784, 300, False, False),
    ("32x300x100", 32, 300, 100, False, False),
    ("128x784x512", 128, 784, 512, False, False),
    ("XtG 784x32x300", 784, 32, 300, True, False),
    ("GWt 32x300x784", 32, 300, 784, False, True),
    ("im2col 64x576x1024", 64, 576, 1024, False, False),
]
# Name, side of the images, channels, filters, side of the kernel, padding, groups; always 32 images.
CONVOLUTIONS = [
    ("conv 1-32 on 28x28", 28, 1, 32, 3, 0, 1),
    ("conv 32-64 on 13x13", 13, 32, 64, 3, 0, 1),
    ("conv 64-64 on 32x32", 32, 64, 64, 3, 1, 1),
    ("depthwise 96 on 56x56", 56, 96, 96, 3, 1, 96),
    ("pointwise 96-24 on 56x56", 56, 96, 24, 1, 0, 1),
]
BATCH = {"mlp": 32, "bnmlp": 32, "ae": 256, "cnn": 64, "cifar": 64}
BATCH.update({f"mobilenet-{side}-{kind}": 32 for side in (32, 96) for kind in ("full", "frozen")})
VALIDATION = 5000
AUTOENCODER = [784, 128, 64, 32, 64, 128, 784]
SLICE = float(os.environ.get("PEERS_SLICE", "0.08"))


def emit(section, peer, case, threads, metric, values, extra=None):
    values = sorted(values)
    figure = {"section": section, "peer": peer, "case": case, "threads": threads, "metric": metric, "extra": extra}
    print(json.dumps({**figure, "median": values[len(values) // 2], "reps": len(values)}), flush=True)


def time_calls(call, repeats=7):
    """Seconds of a call, `repeats` times the mean over a slice of time."""
    call()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SLICE:
        call()
        count += 1
    seconds = []
    gc.disable()
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            call()
        seconds.append((time.perf_counter() - start) / count)
    gc.enable()
    return seconds


def operands(m, k, n, a_stored, b_stored):
    random = np.random.default_rng(0)
    a = random.random((k, m) if a_stored else (m, k), dtype="float32") - 0.5
    b = random.random((n, k) if b_stored else (k, n), dtype="float32") - 0.5
    return a, b


def products(peer, threads, call_of):
    """Times what `call_of(a, b, a_stored, b_stored)` returns for every case."""
    for name, m, k, n, a_stored, b_stored in PRODUCTS:
        call = call_of(*operands(m, k, n, a_stored, b_stored), a_stored, b_stored)
        emit("A", peer, name, threads, "gflops", [2e-9 * m * k * n / s for s in time_calls(call)])


def elementwise(peer, threads, calls_of, others):
    """Times `(name, call, bytes an element)` of `calls_of(x, z)`, and `(name, call, bytes)` of `others(x, z)`."""
    random = np.random.default_rng(0)
    for size, side in (("1M", 1024), ("16M", 4096)):
        x = (random.random((side, side), dtype="float32") - 0.5) * 6
        z = random.random((side, side), dtype="float32")
        for name, call, traffic in calls_of(x, z):
            figures = [1e-9 * side * side * traffic / s for s in time_calls(call)]
            emit("D", peer, f"{name} {size}", threads, "GB/s", figures)
    logits = (random.random((256, 1000), dtype="float32") - 0.5) * 6
    square = random.random((2048, 2048), dtype="float32")
    for name, call, traffic in others(logits, square):
        emit("D", peer, name, threads, "GB/s", [1e-9 * traffic / s for s in time_calls(call)])


def convolutions(peer, threads, calls_of):
    """Times the two functions that `calls_of(images, weights, bias, padding, groups)` returns for arrays as PyTorch has them:
    the result, and the result with the gradients of all three."""
    random = np.random.default_rng(0)
    even = lambda *shape: random.random(shape, dtype="float32") - 0.5
    for name, side, channels, filters, kernel, padding, groups in CONVOLUTIONS:
        images, weights = even(32, channels, side, side), even(filters, channels // groups, kernel, kernel)
        flops = 2 * 32 * filters * (side + 2 * padding - kernel + 1) ** 2 * weights[0].size
        forward, both = calls_of(images, weights, even(filters), padding, groups)
        emit("E", peer, name, threads, "gflops", [1e-9 * flops / s for s in time_calls(forward)])
        emit("E", peer, f"{name}, all gradients", threads, "gflops", [3e-9 * flops / s for s in time_calls(both)])


def images_file(case, what):
    return os.path.join(os.environ["PEERS_IMAGES"], f"{case}-{what}.npy")


def write_images(case, side, count):
    """Images of a network, `[n, height, width, channels]` with numbers from 0 to 255, and their labels."""
    random = np.random.default_rng(0)
    if case == "cnn":
        images, labels = (part[:count] for part in fashion_mnist())
        images = np.rint(images * 255).astype("uint8").reshape(count, side, side, 1)
    else:
        images = random.integers(0, 256, (count, side, side, 3), dtype="uint8")
        labels = random.integers(0, 10, count)
    np.save(images_file(case, "images"), images)
    np.save(images_file(case, "labels"), labels.astype("int64"))


def read_images(case):
    """The images, scaled, and their labels."""
    return np.load(images_file(case, "images")).astype("float32") / 255, np.load(images_file(case, "labels"))


def fashion_mnist():
    """The 55,000 images that the labs train on, scaled, and their labels."""
    folder = os.environ["FASHION_MNIST"]

    def read(name, offset):
        path = os.path.join(folder, name)
        opened = open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb")
        with opened as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    images = read("train-images-idx3-ubyte", 16).reshape(-1, 784)[VALIDATION:]
    return images.astype("float32") / 255, read("train-labels-idx1-ubyte", 8)[VALIDATION:].astype("int64")
