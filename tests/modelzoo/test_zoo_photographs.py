"""Real weights on real photographs: the same answers as torchvision."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxlens import modelzoo

BATCH = 59  # 177 photographs in three equal batches


def load(path):
    """Shorter side to 256, the centre 224x224, in [0, 1]."""
    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255


@pytest.mark.slow
def test_squeezenet_on_photographs(shared_data):
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    classes = json.loads((shared_data / "imagenet_samples" / "classes.json").read_text())
    weights = shared_data / "squeezenet1_1.pth"
    model = modelzoo.load("squeezenet1_1", weights)
    reference = torchvision.models.squeezenet1_1(weights=None).eval()
    reference.load_state_dict(torch.load(weights, weights_only=True))

    files, targets = [row["file"] for row in classes], [row["class_index"] for row in classes]
    ours, theirs = [], []
    for start in range(0, len(files), BATCH):
        images = np.stack([load(shared_data / "imagenet_samples" / name) for name in files[start : start + BATCH]])
        with jax.default_matmul_precision("highest"):
            ours.append(np.asarray(model(jnp.asarray(images))))
        inputs = np.asarray(model.preprocess(jnp.asarray(images)))
        with torch.no_grad():
            theirs.append(reference(torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())).numpy())
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)

    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    top5 = [np.argsort(-logits, axis=-1, kind="stable")[:, :5] for logits in (ours, theirs)]
    top1 = float(np.mean(top5[0][:, 0] == np.asarray(targets)))
    print(f"{len(files)} photographs: relative error {error:.1e}, top-1 {top1:.4f}")
    assert len(files) == 177
    assert error <= 1e-4
    np.testing.assert_array_equal(*top5)
    assert top1 >= 0.60
