"""Thirty calls on lensnet and SqueezeNet whose numbers a refactoring must not change.

    python -m tools.same_numbers write before.json      # at the old commit
    python -m tools.same_numbers compare before.json    # at the new one

Each call's arrays are hashed bit by bit. Where a hash differs, the largest difference is printed
beside the largest value. Hashes belong to one machine and one version of jax, so only the list of
calls is kept here. The calls name no option whose spelling may change: what they need beyond the
defaults is in positions or words that every version had.
"""

import argparse
import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens import attribution, data, modelzoo, recipes
from jaxlens.attribution import metrics
from jaxlens.model import interceptors, rules
from jaxlens.optvis import objectives, param, render

RENDER = {"size": (40, 56), "steps": 4, "progress": False}


def photographs(count: int, height: int, width: int) -> np.ndarray:
    """Return smooth color images that depend on nothing but their numbers."""
    y, x, n, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(count), np.arange(3), indexing="ij")
    waves = (
        0.5 + 0.2 * np.sin(0.21 * y + n + c) + 0.25 * np.cos(0.13 * x * (1 + 0.3 * n) + 2 * c) * np.sin(0.05 * x * y / 9 + n)
    )
    return np.clip(waves, 0, 1).astype(np.float32).transpose(2, 0, 1, 3)


def calls() -> dict[str, Callable[[], Any]]:
    """Return the calls by name."""
    lens, squeeze = modelzoo.load("lensnet"), modelzoo.load("squeezenet1_1", None)
    guided = lens.with_gradient_rule(rules.guided())
    seen, small = photographs(2, 64, 80), photographs(2, 96, 72)

    def drawn(model: Any, objective: Any, **options: Any) -> Any:
        result = render.render(model, objective, **RENDER | options)
        return result.images, result.scores

    def by(method: str, *args: Any, **options: Any) -> Callable[[], Any]:
        return lambda: getattr(attribution, method)(lens, seen, *args, **options).values

    return {
        "lensnet logits": lambda: lens(seen),
        "squeezenet logits": lambda: squeeze(small),
        "lensnet layers": lambda: jaxlens.activations(lens, seen, list(lens.layers)[:12]),
        "squeezenet layers": lambda: jaxlens.activations(squeeze, small, list(squeeze.layers)[::7]),
        "lensnet ablated": lambda: jaxlens.activations(lens, seen, ["logits"], [interceptors.ablate("mixed3a", [0, 3])]),
        "lensnet guided gradient": lambda: jax.grad(lambda x: guided(x)[:, 0].sum())(jnp.asarray(seen)),
        "render channels": lambda: drawn(lens, objectives.channel("mixed4a", range(3))),
        "render a neuron of squeezenet": lambda: drawn(squeeze, objectives.neuron("features.5", 2)),
        "render pixels": lambda: drawn(lens, "mixed3a:1", param=param.image(56, 40, fft=False, decorrelate=False)),
        "render a sum": lambda: drawn(lens, objectives.channel("mixed3a", 1) - 0.1 * objectives.total_variation()),
        "render a direction": lambda: drawn(lens, objectives.direction("mixed3a", np.linspace(-1, 1, 128))),
        "evaluate": lambda: render.evaluate(lens, "mixed4a:3", seen[None]),
        "caricature": lambda: recipes.caricature(lens, seen, "mixed3a", steps=3, progress=False).images,
        "deepdream": lambda: recipes.deepdream(lens, seen[0], "mixed3a", octaves=1, steps=2, progress=False).images,
        "maco": lambda: recipes.maco(lens, "mixed4a:2", steps=3, size=48, progress=False).images,
        "tileable": lambda: recipes.tileable(lens, "mixed3a:2", steps=3, size=48, progress=False).images,
        "saliency": by("saliency"),
        "input x gradient": by("input_x_gradient"),
        "integrated gradients": by("integrated_gradients", 3),
        "smooth_grad": by("smooth_grad", 1),
        "deep_lift": by("deep_lift", 2),
        "lrp": by("lrp", 2),
        "full_grad": by("full_grad", 2),
        "grad_cam": by("grad_cam", 2),
        "ablation_cam": by("ablation_cam", 1),
        "occlusion": by("occlusion", 1),
        "rise": by("rise", 1),
        "integrated gradients at a layer": by("integrated_gradients", 3, layer="mixed3a"),
        "deletion": lambda: metrics.deletion(lens, seen, attribution.saliency(lens, seen)).area,
        "saved and loaded": lambda: _saved(lens, seen),
    }


def _saved(model: Any, images: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        modelzoo.save(model, Path(folder) / "lensnet.safetensors")
        data.save_image(Path(folder) / "seen.png", images[0])
        again = modelzoo.load(Path(folder) / "lensnet.safetensors")
        return again(jnp.asarray(data.load_image(Path(folder) / "seen.png"))[None])


def arrays_of(made: Any) -> list[np.ndarray]:
    """Return the arrays of a call, in order."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(made)]


def main() -> None:
    """Write or compare the hashes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "compare"])
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    hashes = {}
    stored = chosen.file.with_suffix(".npz")
    old = json.loads(chosen.file.read_text()) if chosen.what == "compare" else {}
    olds = np.load(stored) if chosen.what == "compare" else {}
    kept, different = {}, 0
    for name, call in calls().items():
        arrays = arrays_of(call())
        hashes[name] = hashlib.sha256(b"".join(str((a.dtype, a.shape)).encode() + a.tobytes() for a in arrays)).hexdigest()
        kept |= {f"{name}/{i}": array for i, array in enumerate(arrays)}
        if chosen.what == "compare" and hashes[name] != old.get(name):
            different += 1
            for i, array in enumerate(arrays):
                before = olds[f"{name}/{i}"]
                if before.shape != array.shape or before.dtype != array.dtype:
                    print(f"{name}: array {i} was {before.dtype}{before.shape}, is {array.dtype}{array.shape}")
                elif before.tobytes() != array.tobytes():
                    apart = np.abs(before.astype(np.float64) - array.astype(np.float64)).max()
                    print(f"{name}: array {i} differs by {apart:.3g}, largest value {np.abs(before).max():.3g}")
    if chosen.what == "write":
        chosen.file.write_text(json.dumps(hashes, indent=2) + "\n")
        np.savez_compressed(stored, **kept)
        print(f"{len(hashes)} calls -> {chosen.file}, {stored}")
    else:
        print(f"{len(hashes) - different} of {len(hashes)} calls are the same bit by bit")


if __name__ == "__main__":
    main()
