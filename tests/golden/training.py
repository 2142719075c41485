"""Writes training.safetensors: what Keras (and PyTorch for what Keras lacks) does around an optimizer's steps, in float64:
clipping, accumulation, means of weights, regularisers, constraints, schedules. See README.md."""

import jax
import numpy as np
import torch

from book import Book
from keras_on_jax import keras, set_float

set_float("float64")
book = Book()
random = np.random.default_rng(7)
STEPS = 8
START = {"kernel": random.standard_normal((3, 2)) * 2, "bias": random.standard_normal(2)}
GRADS = {"kernel": random.standard_normal((STEPS, 3, 2)), "bias": random.standard_normal((STEPS, 2))}
NAMES = ["kernel", "bias"]


def run(optimizer, regularizers=None, constraints=None):
    """The weights after each step, and after the very end."""
    variables = [keras.Variable(START[name], dtype="float64", name=name) for name in NAMES]
    for variable, name in zip(variables, NAMES):
        variable.constraint = (constraints or {}).get(name)
    steps = {name: [] for name in NAMES}
    for i in range(STEPS):
        grads = []
        for variable, name in zip(variables, NAMES):
            grad = GRADS[name][i]
            regularizer = (regularizers or {}).get(name)
            if regularizer:
                grad = grad + jax.grad(lambda w: regularizer(w))(variable.value)
            grads.append(keras.ops.convert_to_tensor(grad, dtype="float64"))
        optimizer.apply(grads, variables)
        for variable, name in zip(variables, NAMES):
            steps[name].append(np.array(variable.value))
    optimizer.finalize_variable_values(variables)
    out = {f"w.{name}": np.stack(steps[name]) for name in NAMES}
    out |= {f"last.{name}": np.array(variable.value) for variable, name in zip(variables, NAMES)}
    assert all(x.dtype == np.float64 for x in out.values())
    return out


def add(case, recipe, optimizer, rules="", regularizers=None, constraints=None):
    tensors = run(optimizer, regularizers, constraints)
    tensors |= {f"w0.{name}": START[name] for name in NAMES} | {f"grads.{name}": GRADS[name] for name in NAMES}
    book.add(f"around/{case}", "around", {"recipe": recipe, "rules": rules}, tensors)


o, r, c = keras.optimizers, keras.regularizers, keras.constraints
sgd = 'kind = "sgd"\nlearning_rate = 0.1\n'
adam = 'kind = "adam"\nlearning_rate = 0.01\n'
add("plain", sgd, o.SGD(0.1))
add("clipvalue", sgd + "clipvalue = 0.5\n", o.SGD(0.1, clipvalue=0.5))
add("clipnorm", sgd + "clipnorm = 1.0\n", o.SGD(0.1, clipnorm=1.0))
add("global_clipnorm", sgd + "global_clipnorm = 1.5\n", o.SGD(0.1, global_clipnorm=1.5))
add("clipnorm, adam with decay", adam + "clipnorm = 1.0\nweight_decay = 0.1\n", o.Adam(0.01, clipnorm=1.0, weight_decay=0.1))
add("accumulation", adam + "gradient_accumulation_steps = 3\n", o.Adam(0.01, gradient_accumulation_steps=3))
add("accumulation and clip", sgd + "momentum = 0.9\ngradient_accumulation_steps = 2\nglobal_clipnorm = 0.7\n",
    o.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2, global_clipnorm=0.7))
add("ema", sgd + "use_ema = true\nema_momentum = 0.9\n", o.SGD(0.1, use_ema=True, ema_momentum=0.9))
add("ema, overwriting", sgd + "ema_momentum = 0.9\nema_overwrite_frequency = 3\n",
    o.SGD(0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3))
rules = {"l1": r.L1(0.1), "l2": r.L2(0.05), "l1_l2(0.1, 0.01)": r.L1L2(0.1, 0.01)}
for text, regularizer in rules.items():
    text = text if "(" in text else f"{text}({0.1 if text == 'l1' else 0.05})"
    add(text, sgd, o.SGD(0.1), f'kernel_regularizer = "{text}"\n', {"kernel": regularizer})
add("bias l2, clipnorm", sgd + "clipnorm = 0.5\n", o.SGD(0.1, clipnorm=0.5),
    'kernel_regularizer = "l1"\nbias_regularizer = "l2(0.2)"\n', {"kernel": r.L1(), "bias": r.L2(0.2)})
add("l2, accumulation", adam + "gradient_accumulation_steps = 2\n", o.Adam(0.01, gradient_accumulation_steps=2),
    'bias_regularizer = "l1_l2"\n', {"bias": r.L1L2(0.01, 0.01)})
for text, constraint in {
    "max_norm(1.0)": c.MaxNorm(1.0), "non_neg": c.NonNeg(), "unit_norm": c.UnitNorm(),
    "min_max_norm(0.5, 1.0, 0.7)": c.MinMaxNorm(0.5, 1.0, 0.7),
}.items():
    add(text, sgd, o.SGD(0.1), f'kernel_constraint = "{text}"\nbias_constraint = "{text}"\n',
        constraints={"kernel": constraint, "bias": constraint})
add("constraint and ema", sgd + "ema_momentum = 0.5\nema_overwrite_frequency = 2\n",
    o.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2), 'kernel_constraint = "max_norm"\n',
    constraints={"kernel": c.MaxNorm()})

s = keras.optimizers.schedules
COUNT = 45
schedules = {
    "power": ('kind = "power"\nsteps = 10\nrate = 0.5\n', s.InverseTimeDecay(0.2, 10, 0.5)),
    "power, staircase": ('kind = "power"\ndecay_steps = 10\ndecay_rate = 0.5\nstaircase = true\n', s.InverseTimeDecay(0.2, 10, 0.5, True)),
    "exponential": ('kind = "exponential"\nrate = 0.1\nsteps = 20\n', s.ExponentialDecay(0.2, 20, 0.1)),
    "exponential, staircase": ('kind = "exponential"\nrate = 0.1\nsteps = 20\nstaircase = true\n', s.ExponentialDecay(0.2, 20, 0.1, True)),
    "piecewise": ('kind = "piecewise"\nboundaries = [5, 15]\nvalues = [0.3, 0.1, 0.05]\n', s.PiecewiseConstantDecay([5, 15], [0.3, 0.1, 0.05])),
    "polynomial": ('kind = "polynomial"\nsteps = 30\nend = 0.01\npower = 2\n', s.PolynomialDecay(0.2, 30, 0.01, 2.0)),
    "cosine": ('kind = "cosine"\nsteps = 30\nalpha = 0.1\n', s.CosineDecay(0.2, 30, 0.1)),
    "cosine after warm-up": ('kind = "cosine"\nsteps = 20\nwarmup_steps = 7\nwarmup_from = 0.01\n', s.CosineDecay(0.01, 20, warmup_target=0.2, warmup_steps=7)),
    "cosine_restarts": ('kind = "cosine_restarts"\nsteps = 6\nalpha = 0.1\nm_mul = 0.8\n', s.CosineDecayRestarts(0.2, 6, m_mul=0.8, alpha=0.1)),
    "cosine_restarts, equal": ('kind = "cosine_restarts"\nfirst_decay_steps = 9\nt_mul = 1\n', s.CosineDecayRestarts(0.2, 9, t_mul=1.0)),
}
for name, (recipe, schedule) in schedules.items():
    rates = np.array([float(schedule(np.int64(i))) for i in range(COUNT)])
    book.add(f"schedule/{name}", "schedule", {"recipe": recipe}, {"rates": rates})
for name, recipe, make in [
    ("step", 'kind = "step"\nrate = 0.5\nsteps = 8\n', lambda x: torch.optim.lr_scheduler.StepLR(x, 8, 0.5)),
    ("one_cycle", 'kind = "one_cycle"\nsteps = 45\n', lambda x: torch.optim.lr_scheduler.OneCycleLR(x, 0.2, 45)),
    ("one_cycle, given", 'kind = "one_cycle"\nsteps = 45\nrise = 0.4\ndiv = 10\nfinal_div = 50\n',
     lambda x: torch.optim.lr_scheduler.OneCycleLR(x, 0.2, 45, pct_start=0.4, div_factor=10, final_div_factor=50)),
]:
    optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64)], lr=0.2)
    schedule, rates = make(optimizer), []
    for _ in range(COUNT):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < COUNT:
            schedule.step()
    book.add(f"schedule/{name}", "schedule", {"recipe": recipe}, {"rates": np.array(rates)})

VALUES = np.array([1.0, 0.9, 0.95, 0.91, 0.9, 0.89995, 0.92, 0.93, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.4])
for name, recipe, arguments, values in [
    ("plain", "patience = 2\n", {"patience": 2}, VALUES),
    ("cooldown", "patience = 2\nfactor = 0.5\ncooldown = 2\nmin_lr = 0.03\n", {"patience": 2, "factor": 0.5, "cooldown": 2, "min_lr": 0.03}, VALUES),
    ("accuracy", 'monitor = "val_accuracy"\npatience = 1\nfactor = 0.5\nmin_delta = 0.01\n',
     {"monitor": "val_accuracy", "patience": 1, "factor": 0.5, "min_delta": 0.01, "mode": "max"}, 1 - VALUES),
]:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.2), loss="mse")
    callback = keras.callbacks.ReduceLROnPlateau(**arguments)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {arguments.get("monitor", "val_loss"): value})
        rates.append(float(np.array(model.optimizer.learning_rate)))
    recipe = 'kind = "plateau"\n' + recipe
    book.add(f"plateau/{name}", "plateau", {"recipe": recipe, "monitor": arguments.get("monitor", "val_loss")},
             {"values": values, "rates": np.array(rates)})
book.save("training")
