"""PyTorch. Usage: torch_rows.py gemm|elem|conv|conv-last THREADS, train mlp|bnmlp|ae THREADS, epoch THREADS

PEERS_LABEL names the figures, where the environment tunes something."""
import os
import sys
import time

threads = int(sys.argv[-1])
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(threads)
import torch
import torch.nn.functional as F
from torch import nn

import common

torch.set_num_threads(threads)
torch.manual_seed(0)
PEER = os.environ.get("PEERS_LABEL", "torch")


def product(a, b, a_stored, b_stored):
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    a, b = (a.t() if a_stored else a), (b.t() if b_stored else b)
    c = torch.empty(a.shape[0], b.shape[1])
    return lambda: torch.mm(a, b, out=c)


def calls(x, z):
    x, z = torch.from_numpy(x), torch.from_numpy(z)
    ones, zeros = torch.ones(x.shape[1]), torch.zeros(x.shape[1])
    return [
        ("relu", lambda: F.relu(x), 8),
        ("exp", lambda: torch.exp(x), 8),
        ("tanh", lambda: torch.tanh(x), 8),
        ("sigmoid", lambda: torch.sigmoid(x), 8),
        ("gelu", lambda: F.gelu(x), 8),
        ("add", lambda: x + z, 12),
        ("mul scalar", lambda: x * 1.5, 8),
        ("sum axis0", lambda: x.sum(0), 4),
        ("argmax axis1", lambda: x.argmax(1), 4),
        ("layernorm", lambda: F.layer_norm(x, x.shape[1:], ones, zeros), 8),
        ("batchnorm train fwd", lambda: F.batch_norm(x, None, None, ones, zeros, True), 8),
    ]


def others(logits, square):
    logits, square = torch.from_numpy(logits), torch.from_numpy(square)
    return [
        ("softmax 256x1000", lambda: torch.softmax(logits, 1), 8 * logits.numel()),
        ("transpose 2048", lambda: square.t().contiguous(), 8 * square.numel()),
    ]


def convolutions(memory_format):
    """What `common.convolutions` wants, with planes of channels or with channels last."""

    def calls(images, weights, bias, padding, groups):
        x, w, b = (torch.from_numpy(array) for array in (images, weights, bias))
        x, w = (tensor.contiguous(memory_format=memory_format) for tensor in (x, w))
        leaves = [tensor.clone(memory_format=torch.preserve_format).requires_grad_() for tensor in (x, w, b)]
        dy = torch.ones_like(F.conv2d(x, w, b, padding=padding, groups=groups))

        def both():
            torch.autograd.grad(F.conv2d(*leaves, padding=padding, groups=groups), leaves, dy)

        return lambda: F.conv2d(x, w, b, padding=padding, groups=groups), both

    return calls


def network(model):
    if model == "mlp":
        slope = nn.LeakyReLU(0.3)
        return nn.Sequential(nn.Linear(784, 300), slope, nn.Linear(300, 100), slope, nn.Linear(100, 10))
    if model == "bnmlp":
        norm = nn.BatchNorm1d
        first = [norm(784), nn.Linear(784, 300), nn.ReLU(), norm(300), nn.Linear(300, 100), nn.ReLU()]
        return nn.Sequential(*first, norm(100), nn.Linear(100, 10))
    layers = []
    for inputs, outputs in zip(common.AUTOENCODER, common.AUTOENCODER[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def trainer(model):
    """A function that trains on the rows of an index, and how many rows there are."""
    x, y = (torch.from_numpy(part) for part in common.fashion_mnist())
    net = network(model)
    if model == "ae":
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

    def step(rows):
        batch = x[rows]
        optimizer.zero_grad()
        out = net(batch)
        if model == "ae":
            loss = F.binary_cross_entropy_with_logits(out, batch)
        else:
            loss = F.cross_entropy(out, y[rows])
        loss.backward()
        optimizer.step()

    return step, len(x)


def train(model):
    step, count = trainer(model)
    size, seconds = common.BATCH[model], 30 * common.SLICE
    rates = []
    for _ in range(4):
        order, done, start = torch.randperm(count), 0, time.perf_counter()
        for rows in order.split(size):
            step(rows)
            done += len(rows)
            if time.perf_counter() - start > seconds:
                break
        rates.append(done / (time.perf_counter() - start))
    # The first round warms up.
    common.emit("B", PEER, model, threads, "samples/s", rates[1:])


if sys.argv[1] == "gemm":
    common.products(PEER, threads, product)
elif sys.argv[1] == "elem":
    torch.set_grad_enabled(False)
    common.elementwise(PEER, threads, calls, others)
elif sys.argv[1] == "conv":
    common.convolutions(PEER, threads, convolutions(torch.contiguous_format))
elif sys.argv[1] == "conv-last":
    common.convolutions(PEER, threads, convolutions(torch.channels_last))
elif sys.argv[1] == "train":
    train(sys.argv[2])
else:
    step, count = trainer("mlp")
    for rows in torch.randperm(count).split(32):
        step(rows)
