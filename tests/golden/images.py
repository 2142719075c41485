"""Writes images.safetensors: resized images by PyTorch, Keras (on JAX) and Pillow. See README.md."""

import numpy as np
import torch
from PIL import Image

from book import Book
from keras_on_jax import keras, set_float

random = np.random.default_rng(42)
book = Book()
set_float("float64")

SIZES = [((7, 5), (7, 5)), ((6, 8), (12, 9)), ((9, 11), (4, 3)), ((8, 5), (3, 13)), ((5, 5), (1, 1)), ((2, 3), (7, 7))]


def add(case, method, x, y):
    book.add(case, "resize", {"method": method, "size": y.shape[1:3]}, {"x": x, "y": np.asarray(y, np.float64)})


def by_torch(x, size, mode, **settings):
    y = torch.nn.functional.interpolate(torch.tensor(x).permute(0, 3, 1, 2), size, mode=mode, **settings)
    return y.permute(0, 2, 3, 1).numpy()


for old, new in SIZES:
    x = random.random((2, *old, 3))
    name = "x".join(map(str, old + new))
    add(f"torch/{name}/bilinear", "bilinear", x, by_torch(x, new, "bilinear"))
    add(f"torch/{name}/antialias", "antialias", x, by_torch(x, new, "bilinear", antialias=True))
    add(f"torch/{name}/nearest", "nearest", x, by_torch(x, new, "nearest-exact"))
    for antialias in (False, True):
        y = keras.ops.image.resize(x, new, "bilinear", antialias=antialias, data_format="channels_last")
        add(f"keras/{name}/{antialias}", "antialias" if antialias else "bilinear", x, y)
    grey = random.random(old).astype(np.float32)
    for method, theirs in (("antialias", Image.Resampling.BILINEAR), ("nearest", Image.Resampling.NEAREST)):
        # Pillow adds up steps of 2/7, and where a centre lies between two pixels its rounding decides: a choice, not a rule.
        if method == "nearest" and new == (7, 7):
            continue
        y = np.asarray(Image.fromarray(grey).resize(new[::-1], theirs))
        add(f"pillow/{name}/{method}", method, grey[None].astype(np.float64), y[None])
book.save("images")
