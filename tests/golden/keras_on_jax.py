"""Keras on JAX, on the CPU, able to compute in float64."""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import keras
from keras.src.backend.common import dtypes

# Keras promotes to float32 where its own lattice says float64, unless it runs on TensorFlow. This lifts that.
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def set_float(name):
    jax.config.update("jax_enable_x64", name == "float64")
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)  # the policy of an earlier call would outlive the line above
