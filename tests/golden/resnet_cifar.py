"""Prints what PyTorch reaches with the network, the images and the schedule of the recipe `resnet-cifar`.

    gradus train resnet-cifar --data FOLDER --seed 42
    python tests/golden/resnet_cifar.py FOLDER 42 [43 ..]

FOLDER holds train_*.png and test_*.png, sheets of 40 x 25 images whose labels count from 0 to 9, or the binary version of CIFAR-10. A
line for each epoch with the validation's numbers, and one for each seed with the test's.
"""

import glob
import math
import sys

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

FOLDER, SEEDS = sys.argv[1], [int(seed) for seed in sys.argv[2:]]
EPOCHS, BATCH = 30, 128


def read(sheets, batches):
    """Images [N, 3, 32, 32] in bytes, and their labels."""
    paths = sorted(glob.glob(f"{FOLDER}/{sheets}"))
    if paths:
        tiles = [np.asarray(Image.open(path).convert("RGB")).reshape(25, 32, 40, 32, 3) for path in paths]
        x = np.concatenate([tile.transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32) for tile in tiles])
        y = np.arange(len(x)) % 10
    else:
        records = [np.fromfile(path, np.uint8).reshape(-1, 3073) for path in sorted(glob.glob(f"{FOLDER}/{batches}"))]
        x, y = np.concatenate(records)[:, 1:].reshape(-1, 3, 32, 32), np.concatenate(records)[:, 0]
    return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y.astype(np.int64))


class Block(nn.Module):
    """He et al. 2016, with a convolution of 1 x 1 and a batch norm beside it where the size changes."""

    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.short = nn.Sequential()
        if stride > 1:
            self.short = nn.Sequential(nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.short(x))


def resnet():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for filters, stride in [(16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)]:
        layers.append(Block(inputs, filters, stride))
        inputs = filters
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            # `he_normal` is cut at two standard deviations, and made wider by as much as that takes away.
            std = math.sqrt(2 / (layer.weight[0].numel())) / 0.87962566103423978
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    return net


def varied(images):
    """Every second image mirrored, and each moved by up to four pixels; black comes in."""
    out = torch.zeros_like(images)
    padded = F.pad(images, (4, 4, 4, 4))
    places, mirrored = torch.randint(0, 9, (len(images), 2)).tolist(), (torch.rand(len(images)) < 0.5).tolist()
    for i, ((top, left), flip) in enumerate(zip(places, mirrored)):
        image = padded[i, :, top : top + 32, left : left + 32]
        out[i] = image.flip(2) if flip else image
    return out


def measure(net, x, y, prepare):
    net.eval()
    with torch.no_grad():
        raw = torch.cat([net(prepare(part)) for part in x.split(256)])
    return F.cross_entropy(raw, y).item(), (raw.argmax(1) == y).double().mean().item()


def train(seed, images, labels, test):
    torch.manual_seed(seed)
    count = math.floor(len(images) * 0.9)
    (x, y), val = (images[:count], labels[:count]), (images[count:], labels[count:])
    numbers = x.double() / 255
    mean, std = numbers.mean((0, 2, 3)).float().view(3, 1, 1), numbers.var((0, 2, 3), correction=0).sqrt().float().view(3, 1, 1)

    def prepare(part):
        return ((part.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    net = resnet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * math.ceil(count / BATCH))
    for epoch in range(EPOCHS):
        net.train()
        for rows in torch.randperm(count).split(BATCH):
            loss = F.cross_entropy(net(prepare(varied(x[rows]))), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        val_loss, val_accuracy = measure(net, *val, prepare)
        print(f"seed {seed}, epoch {epoch + 1}: val_loss {val_loss:.4f}  val_accuracy {val_accuracy:.4f}", flush=True)
    loss, accuracy = measure(net, *test, prepare)
    print(f"seed {seed}: {sum(p.numel() for p in net.parameters())} weights, test loss {loss:.4f}  accuracy {accuracy:.4f}", flush=True)


data, test = read("train_*.png", "data_batch_*.bin"), read("test_*.png", "test_batch.bin")
for seed in SEEDS:
    train(seed, *data, test)
