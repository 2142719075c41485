"""Prints what TensorBoard's own reader finds in event files, as JSON: `events.py FILE|FOLDER`. See README.md."""

import io
import json
import math
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

everything = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
events = EventAccumulator(sys.argv[1], size_guidance=everything).Reload()
tags = events.Tags()


def histogram(event):
    value = event.histogram_value
    numbers = {key: getattr(value, key) for key in ("min", "max", "num", "sum", "sum_squares")}
    return {"step": event.step, **numbers, "limits": list(value.bucket_limit), "counts": list(value.bucket)}


def image(event):
    picture = Image.open(io.BytesIO(event.encoded_image_string))
    return {"step": event.step, "size": [event.width, event.height], "png": [*picture.size, picture.mode]}


def node(node):
    shapes = [[size.size for size in shape.dim] for shape in node.attr["_output_shapes"].list.shape]
    return {"name": node.name, "op": node.op, "input": list(node.input), "shapes": shapes}


print(json.dumps({
    "version": events.file_version if hasattr(events, "file_version") else None,
    "scalars": {tag: [[e.step, e.value if math.isfinite(e.value) else str(e.value)] for e in events.Scalars(tag)] for tag in sorted(tags["scalars"])},
    "histograms": {tag: [histogram(e) for e in events.Histograms(tag)] for tag in sorted(tags["histograms"])},
    "images": {tag: [image(e) for e in events.Images(tag)] for tag in sorted(tags["images"])},
    "graph": [node(n) for n in events.Graph().node] if tags["graph"] else None,
}, sort_keys=True, indent=1))
