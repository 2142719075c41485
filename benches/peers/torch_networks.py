"""PyTorch's whole networks. Usage: torch_networks.py CASE planes|last THREADS

PEERS_LABEL names the figures, where the environment tunes something."""
import os
import sys
import time

case, layout, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(threads)
import torch
from torch import nn

import common

torch.set_num_threads(threads)
torch.manual_seed(0)
PEER = os.environ.get("PEERS_LABEL", "torch")


def convolution(channels, filters, kernel=3, stride=1, groups=1):
    """A convolution with a batch norm and a ReLU6, as MobileNetV2 has them."""
    convolved = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolved, nn.BatchNorm2d(filters), nn.ReLU6(inplace=True)]


class Bottleneck(nn.Module):
    def __init__(self, channels, filters, stride, expansion):
        super().__init__()
        wide = channels * expansion
        expand = convolution(channels, wide, 1) if expansion > 1 else []
        depthwise = convolution(wide, wide, 3, stride, wide)
        self.layers = nn.Sequential(*expand, *depthwise, *convolution(wide, filters, 1)[:2])
        self.adds = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


def mobilenet():
    layers, channels = convolution(3, 32, 3, 2), 32
    # Expansion, filters, how many, stride of the first.
    for expansion, filters, count, stride in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for i in range(count):
            layers.append(Bottleneck(channels, filters, stride if i == 0 else 1, expansion))
            channels = filters
    net = nn.Sequential(*layers, *convolution(320, 1280, 1))
    for part in net.modules():
        # As torchvision starts it. With the usual weights, frozen norms let numbers fade until they are denormal, which is slow.
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")
    return net


def network():
    relu = lambda *parts: [layer for part in parts for layer in (part, nn.ReLU())]
    pool = nn.MaxPool2d(2)
    if case == "cnn":
        features = [*relu(nn.Conv2d(1, 32, 3)), pool, *relu(nn.Conv2d(32, 64, 3)), pool, nn.Flatten()]
        return nn.Sequential(*features, *relu(nn.Linear(1600, 128)), nn.Dropout(0.5), nn.Linear(128, 10))
    if case == "cifar":
        first = relu(nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3))
        second = relu(nn.Conv2d(32, 64, 3, padding=1), nn.Conv2d(64, 64, 3))
        head = [nn.Flatten(), *relu(nn.Linear(2304, 512)), nn.Linear(512, 10)]
        return nn.Sequential(*first, pool, *second, pool, *head)
    return nn.Sequential(mobilenet(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10))


def resident(key):
    """The process's memory in MB, as Linux tells it."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))


before = resident("VmRSS:")
images, labels = common.read_images(case)
memory_format = torch.channels_last if layout == "last" else torch.contiguous_format
x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
y = torch.from_numpy(labels)
del images
net = network().to(memory_format=memory_format).train()
frozen = net[0] if case.endswith("frozen") else None
if frozen is not None:
    frozen.eval().requires_grad_(False)
optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)


def step(rows):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
    loss.backward()
    optimizer.step()


size, seconds, rates = common.BATCH[case], 30 * common.SLICE, []
for _ in range(4):
    done, start = 0, time.perf_counter()
    for rows in torch.randperm(len(x)).split(size):
        step(rows)
        done += len(rows)
        # A look at the clock after the first few, which warm up.
        if time.perf_counter() - start > seconds and done > 2 * size:
            break
    rates.append(done / (time.perf_counter() - start))
common.emit("F", PEER, case, threads, "samples/s", rates[1:])
if case == "cifar":
    peak = resident("VmHWM:")
    common.emit("F", PEER, "cifar memory", threads, "MB", [peak - before], extra=peak)
