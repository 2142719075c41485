"""Writes vocabulary.safetensors: 200 training steps of a small net by Keras on JAX with every optimizer, regulariser,
constraint and weighting. See README.md."""

import json

import numpy as np
from safetensors.numpy import save_file

from keras_on_jax import keras, set_float
import pathlib

STEPS, BATCH, SAMPLES, FEATURES, CLASSES = 200, 16, 240, 8, 3
random = np.random.default_rng(3)
X = random.standard_normal((SAMPLES, FEATURES)).astype(np.float32)
LABELS = np.argmax(X @ random.standard_normal((FEATURES, CLASSES)) + random.standard_normal((SAMPLES, CLASSES)), axis=1)
WEIGHTS = random.uniform(0.0, 2.0, SAMPLES).astype(np.float32)
BATCHES = np.stack([random.permutation(SAMPLES)[:BATCH] for _ in range(STEPS)]).astype(np.int32)
START = None
tensors, cases = {}, []


def run(name, optimizer, make, layer="", train="", rules=None, loss="sparse_categorical_crossentropy", weighted=None,
        class_weight=None, lr=0.01):
    """One case: what stands under [optimizer], in the first [[layer]] and under [train], and the same for Keras."""
    global START
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.layers.Input((FEATURES,)),
        keras.layers.Dense(16, activation="tanh", name="dense", **(rules or {})),
        keras.layers.Dense(CLASSES, activation="softmax", name="dense_1"),
    ])
    model.compile(loss=loss, optimizer=make())
    variables = {f"{layer.name}.{v.name}": v for layer in model.layers for v in layer.weights}
    if START is None:
        START = {k: np.array(v).astype(np.float32) for k, v in variables.items()}
        # Biases do not begin at 0, where JAX gives |x| a slope of 1 and others one of 0.
        START |= {k: random.uniform(0.05, 0.15, v.shape).astype(np.float32) for k, v in START.items() if v.ndim == 1}
    for k, v in variables.items():
        v.assign(START[k])
    losses = []
    for rows in BATCHES:
        targets = LABELS[rows] if isinstance(loss, str) else np.eye(CLASSES)[LABELS[rows]]
        x = X[rows].astype(keras.config.floatx())
        weight = None if weighted is None else WEIGHTS[rows]
        losses.append(float(model.train_on_batch(x, targets, sample_weight=weight, class_weight=class_weight)))
    print(f"  {name}: {losses[0]:.5f} -> {losses[-1]:.5f}")
    cases.append({"case": name, "optimizer": optimizer, "layer": layer, "train": train, "weighted": weighted is not None})
    tensors[f"losses/{name}"] = np.array(losses)


set_float("float64")
o, r, c, s = keras.optimizers, keras.regularizers, keras.constraints, keras.optimizers.schedules
rate = "learning_rate = 0.01\n"
run("sgd", 'kind = "sgd"\nlearning_rate = 0.1\n', lambda: o.SGD(0.1))
run("momentum", 'kind = "sgd"\nmomentum = 0.9\n', lambda: o.SGD(0.01, momentum=0.9))
run("nesterov", 'kind = "sgd"\nmomentum = 0.9\nnesterov = true\n', lambda: o.SGD(0.01, momentum=0.9, nesterov=True))
run("adagrad", f'kind = "adagrad"\nlearning_rate = 0.1\n', lambda: o.Adagrad(0.1))
run("rmsprop", f'kind = "rmsprop"\n{rate}', lambda: o.RMSprop(0.01))
run("rmsprop, centered", f'kind = "rmsprop"\ncentered = true\nmomentum = 0.5\n', lambda: o.RMSprop(0.001, centered=True, momentum=0.5))
run("adam", f'kind = "adam"\n{rate}', lambda: o.Adam(0.01))
run("amsgrad", f'kind = "adam"\namsgrad = true\n{rate}', lambda: o.Adam(0.01, amsgrad=True))
run("adamw", f'kind = "adamw"\n{rate}', lambda: o.AdamW(0.01))
run("adamax", f'kind = "adamax"\n{rate}', lambda: o.Adamax(0.01))
run("nadam", f'kind = "nadam"\n{rate}', lambda: o.Nadam(0.01))
run("adadelta", 'kind = "adadelta"\nlearning_rate = 1.0\n', lambda: o.Adadelta(1.0))
run("lion", 'kind = "lion"\n', lambda: o.Lion(0.001))

adam, sgd = f'kind = "adam"\n{rate}', 'kind = "sgd"\nlearning_rate = 0.1\n'
make_adam, make_sgd = (lambda: o.Adam(0.01)), (lambda: o.SGD(0.1))
run("l2", sgd, make_sgd, "l2 = 0.01\n", rules={"kernel_regularizer": r.L2(0.01)})
run("l1", adam, make_adam, "l1 = 0.001\n", rules={"kernel_regularizer": r.L1(0.001)})
run("l1_l2", adam, make_adam, 'l1 = 0.001\nl2 = 0.01\n', rules={"kernel_regularizer": r.L1L2(0.001, 0.01)})
run("bias and activity", adam, make_adam, 'bias_regularizer = "l2(0.1)"\nactivity_regularizer = "l1_l2(0.01, 0.02)"\n',
    rules={"bias_regularizer": r.L2(0.1), "activity_regularizer": r.L1L2(0.01, 0.02)})
run("bias and activity, l1", adam, make_adam, 'bias_regularizer = "l1(0.01)"\nactivity_regularizer = "l1(0.01)"\n',
    rules={"bias_regularizer": r.L1(0.01), "activity_regularizer": r.L1(0.01)})
run("bias and activity, l1_l2 and l2", sgd, make_sgd, 'bias_regularizer = "l1_l2(0.01, 0.1)"\nactivity_regularizer = "l2(0.02)"\n',
    rules={"bias_regularizer": r.L1L2(0.01, 0.1), "activity_regularizer": r.L2(0.02)})
run("max_norm", sgd, make_sgd, "max_norm = 1.0\n", rules={"kernel_constraint": c.MaxNorm(1.0)})
run("non_neg", adam, make_adam, 'kernel_constraint = "non_neg"\nbias_constraint = "non_neg"\n',
    rules={"kernel_constraint": c.NonNeg(), "bias_constraint": c.NonNeg()})
run("unit_norm", adam, make_adam, 'kernel_constraint = "unit_norm"\n', rules={"kernel_constraint": c.UnitNorm()})
run("min_max_norm", sgd, make_sgd, 'kernel_constraint = "min_max_norm(0.5, 0.8, 0.5)"\n', rules={"kernel_constraint": c.MinMaxNorm(0.5, 0.8, 0.5)})
run("clip by value", f'{sgd}clipvalue = 0.02\n', lambda: o.SGD(0.1, clipvalue=0.02))
run("clip by norm", f'{sgd}clipnorm = 0.05\n', lambda: o.SGD(0.1, clipnorm=0.05))
run("clip by global norm", f'{sgd}momentum = 0.5\nglobal_clipnorm = 0.1\n', lambda: o.SGD(0.1, momentum=0.5, global_clipnorm=0.1))
run("accumulation", f'{adam}gradient_accumulation_steps = 4\n', lambda: o.Adam(0.01, gradient_accumulation_steps=4), "l2 = 0.01\n",
    rules={"kernel_regularizer": r.L2(0.01)})
run("means of weights", f'{adam}ema_momentum = 0.9\nema_overwrite_frequency = 7\n',
    lambda: o.Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7))
run("clip, accumulation, schedule",
    'kind = "adam"\nlearning_rate = 0.01\nglobal_clipnorm = 0.5\ngradient_accumulation_steps = 2\n[optimizer.schedule]\nkind = "exponential"\nrate = 0.1\nsteps = 100\n',
    lambda: o.Adam(s.ExponentialDecay(0.01, 100, 0.1), global_clipnorm=0.5, gradient_accumulation_steps=2))
run("label smoothing", adam, make_adam, train="label_smoothing = 0.1\n", loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
run("class weights", adam, make_adam, train="class_weight = [0.5, 1, 3]\n", class_weight={0: 0.5, 1: 1.0, 2: 3.0})
run("sample weights", adam, make_adam, weighted=True)

about = f"{STEPS} steps of batch {BATCH}, Dense {FEATURES}-16-{CLASSES}"
tensors |= {"inputs": X, "labels": LABELS.astype(np.int64), "weights": WEIGHTS, "batches": BATCHES}
tensors |= {f"initial/{k}": v for k, v in START.items()}
path = pathlib.Path(__file__).parent / "vocabulary.safetensors"
save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata={"cases": json.dumps({"about": about, "cases": cases})})
path.chmod(0o644)
print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")
