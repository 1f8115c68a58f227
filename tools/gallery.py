"""`docs/gallery`: a picture of every recipe, with figures that say whether it works.

`python -m tools.gallery --weights squeezenet1_1.pth --photographs FOLDER [NAMES]`
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens import modelzoo, plot, recipes
from jaxlens.data import load_image, save_animation, save_image
from jaxlens.optvis import objectives, param, render, transform

OUT = Path(__file__).parents[1] / "docs" / "gallery"
MIDDLE, DEEP = "features.6", "features.10"
STYLE_LAYERS = ("features.1", "features.3", "features.6", "features.9")
Picture = tuple[np.ndarray, dict[str, float], str]
PICTURES: dict[str, Callable[["Studio"], Picture]] = {}


class Studio:
    """The network and the photographs."""

    def __init__(self, weights: Path, photographs: Path, steps: int):
        self.model = modelzoo.load("squeezenet1_1", weights)
        self.folder, self.steps = photographs, steps

    def photo(self, name: str, size: int = 224) -> np.ndarray:
        """Return the central square of a photograph."""
        (path,) = sorted(self.folder.glob(f"*_{name}.jpg"))
        image = np.asarray(load_image(path), np.float32)
        side = min(image.shape[:2])
        top, left = ((n - side) // 2 for n in image.shape[:2])
        square = jnp.asarray(image[top : top + side, left : left + side])[None]
        return np.asarray(jnp.clip(jax.image.resize(square, (1, size, size, 3), "linear"), 0, 1))[0]

    def see(self, image: np.ndarray, layer: str) -> np.ndarray:
        """Return the activations of a layer for one picture."""
        return np.asarray(jaxlens.activations(self.model, jnp.asarray(image)[None], [layer])[layer][0], np.float64)


def picture(function: Callable[[Studio], Picture]) -> Callable[[Studio], Picture]:
    """Add a picture to the gallery."""
    PICTURES[function.__name__] = function
    return function


def row(*images: np.ndarray) -> np.ndarray:
    """Put pictures of one height side by side."""
    return np.concatenate(images, axis=1)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine between two arrays."""
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@picture
def inversion(studio: Studio) -> Picture:
    photo = studio.photo("lesser_panda")
    found = [recipes.invert(studio.model, photo, layer, steps=studio.steps).images[0, 0] for layer in (MIDDLE, DEEP)]
    figures = {
        layer: cosine(studio.see(x, layer), studio.see(photo, layer)) for layer, x in zip((MIDDLE, DEEP), found, strict=True)
    }
    figures = {f"cosine of {layer}": value for layer, value in figures.items()}
    return row(photo, *found), figures, f'recipes.invert(model, photo, "{MIDDLE}"), then "{DEEP}"'


@picture
def caricature(studio: Studio) -> Picture:
    photo, layer = studio.photo("lesser_panda"), DEEP
    drawn = recipes.caricature(studio.model, photo, layer, steps=studio.steps).images[0, 0]
    ours, theirs = studio.see(drawn, layer), studio.see(photo, layer)
    grey = studio.see(np.full_like(photo, 0.5), layer)
    figures = {
        "dot product over the photograph's own": float((ours * theirs).sum() / (theirs**2).sum()),
        "cosine": cosine(ours, theirs),
        "cosine of plain grey": cosine(grey, theirs),
    }
    return row(photo, drawn), figures, f'recipes.caricature(model, photo, "{layer}")'


@picture
def style_transfer(studio: Studio) -> Picture:
    photo, manner = studio.photo("lesser_panda"), studio.photo("prayer_rug")
    layers = {"content_layers": MIDDLE, "style_layers": STYLE_LAYERS}
    drawn = recipes.style_transfer(studio.model, photo, manner, steps=studio.steps, **layers).images[0, 0]

    def style_loss(image: np.ndarray) -> float:
        total = 0.0
        for layer in STYLE_LAYERS:
            a, b = (np.asarray(objectives.gram(jnp.asarray(studio.see(x, layer))[None]), np.float64) for x in (image, manner))
            total += float(((a - b) ** 2).sum() / (b**2).sum())
        return total

    figures = {
        "style loss falls by a factor of": style_loss(photo) / style_loss(drawn),
        "content cosine": cosine(studio.see(drawn, MIDDLE), studio.see(photo, MIDDLE)),
        "content cosine of the style picture": cosine(studio.see(manner, MIDDLE), studio.see(photo, MIDDLE)),
    }
    command = f'recipes.style_transfer(model, photo, style, content_layers="{MIDDLE}", style_layers={STYLE_LAYERS})'
    return row(photo, manner, drawn), figures, command


@picture
def deepdream(studio: Studio) -> Picture:
    photo = studio.photo("lesser_panda", 320)
    drawn = recipes.deepdream(
        studio.model, photo, "features.9", octaves=4, steps=max(4, studio.steps // 16), rate=0.015
    ).images[0, 0]
    energy = [float((studio.see(x, "features.9") ** 2).mean()) for x in (drawn, photo)]
    return (
        row(photo, drawn),
        {"mean square of features.9 grows by": energy[0] / energy[1]},
        'recipes.deepdream(model, photo, "features.9")',
    )


@picture
def diversity(studio: Studio) -> Picture:
    unit = "features.9:5"
    options: dict[str, Any] = {"steps": studio.steps, "seed": 1}
    apart = recipes.diversity(studio.model, unit, "features.9", count=4, weight=30.0, **options)
    alone = render.render(studio.model, unit, param=param.image(128, batch=4), **options)
    similar, active = (
        [float(render.evaluate(studio.model, o, r.images)[0]) for r in (apart, alone)]
        for o in (objectives.diversity("features.9"), objectives.channel("features.9", 5))
    )
    figures = {"similarity falls to": similar[0] / similar[1], "activation keeps": active[0] / active[1]}
    rows = [row(*result.images[0]) for result in (alone, apart)]
    return (
        np.concatenate(rows),
        figures,
        f'recipes.diversity(model, "{unit}", "features.9", count=4, weight=30.0); above without',
    )


@picture
def interpolation(studio: Studio) -> Picture:
    result = recipes.interpolate(studio.model, ("features.9", 5), ("features.9", 40), count=5, steps=studio.steps)
    return row(*result.images[0]), {}, 'recipes.interpolate(model, ("features.9", 5), ("features.9", 40), count=5)'


@picture
def maco(studio: Studio) -> Picture:
    result = recipes.maco(studio.model, "logits:1,340,817", size=256, steps=studio.steps, crops=6, importance=True)
    shown = [plot.maco_display(x[0], t[0]) for x, t in zip(result.images, np.asarray(result.importance), strict=True)]
    kept = np.stack([x[..., :3] * x[..., 3:] + 1 - x[..., 3:] for x in shown])
    logits = np.asarray(studio.model(jnp.asarray(result.images[:, 0])))
    figures = {f"logit of {c}": float(row[c]) for c, row in zip((1, 340, 817), logits, strict=True)}
    command = 'recipes.maco(model, "logits:1,340,817", size=256, crops=6, importance=True); below through plot.maco_display'
    return np.concatenate([row(*result.images[:, 0]), row(*kept)]), figures, command


@picture
def class_visualization(studio: Studio) -> Picture:
    labels = [1, 281, 817]
    result = recipes.class_visualization(studio.model, labels, size=160, steps=studio.steps)
    shown = jax.nn.softmax(studio.model(transform.resize(224, 224)(jax.random.key(0), jnp.asarray(result.images[:, 0]))))
    figures = {f"probability of {label}": float(p[label]) for label, p in zip(labels, shown, strict=True)}
    return row(*result.images[:, 0]), figures, f"recipes.class_visualization(model, {labels}, size=160)"


@picture
def attribution_caricature(studio: Studio) -> Picture:
    photo, label = studio.photo("lesser_panda"), 387
    other = studio.photo("prayer_rug")
    layers = ["features.6", "features.9", "features.12"]
    drawn = recipes.attribution_caricature(studio.model, photo, f"logits:{label}", layers, steps=studio.steps).images[0, 0]
    logits = [float(np.asarray(studio.model(jnp.asarray(x)[None]))[0, label]) for x in (drawn, photo, other)]
    figures = {"logit": logits[0], "of the photograph": logits[1], "of another": logits[2]}
    return row(photo, drawn), figures, f'recipes.attribution_caricature(model, photo, "logits:{label}", {layers})'


@picture
def methods(studio: Studio) -> Picture:
    units = "features.9:5,40"
    found = recipes.compare_methods(studio.model, units, size=128, steps=studio.steps)
    figures = {
        name: float(np.mean(render.evaluate(studio.model, objectives.channel("features.9", [5, 40]), r.images)))
        for name, r in found.items()
    }
    sheet = np.asarray(plot.comparison(found), np.float32) / 255
    return sheet, figures, f'plot.comparison(recipes.compare_methods(model, "{units}"))'


@picture
def tiles(studio: Studio) -> Picture:
    found = recipes.tileable(studio.model, "features.9:5,40", size=112, steps=studio.steps).images[:, 0]
    return (
        row(*(np.tile(x, (2, 2, 1)) for x in found)),
        {},
        'recipes.tileable(model, "features.9:5,40", size=112), each four times',
    )


@picture
def transparent(studio: Studio) -> Picture:
    found = recipes.transparent(studio.model, "features.9:5,40", size=160, steps=studio.steps).images[:, 0]
    white = found[..., :3] * found[..., 3:] + 1 - found[..., 3:]
    figures = {"mean opacity": float(found[..., 3].mean())}
    return row(*white), figures, 'recipes.transparent(model, "features.9:5,40", size=160), on white'


@picture
def interactions(studio: Studio) -> Picture:
    result = recipes.interactions(studio.model, "features.9:5,40", "features.9:12,77,100", size=96, steps=studio.steps // 2)
    sheet = np.asarray(plot.interaction_grid(result, 2, 3), np.float32) / 255
    return sheet, {}, 'plot.interaction_grid(recipes.interactions(model, "features.9:5,40", "features.9:12,77,100"), 2, 3)'


@picture
def both_signs(studio: Studio) -> Picture:
    result = recipes.both_signs(studio.model, "features.9.expand1x1:5,40", size=112, steps=studio.steps)
    figures = {name: float(scores[-8:].mean()) for name, scores in zip(result.names, result.scores, strict=True)}
    return row(*result.images[:, 0]), figures, 'recipes.both_signs(model, "features.9.expand1x1:5,40")'


@picture
def evolution(studio: Studio) -> Picture:
    steps = tuple(step for step in (1, 8, 32, 64, 128) if step <= studio.steps)
    result = render.render(studio.model, "features.9:40", size=128, steps=studio.steps, thresholds=steps)
    sheet = np.asarray(plot.evolution_strip(result), np.float32) / 255
    return sheet, {}, f'plot.evolution_strip(render.render(model, "features.9:40", thresholds={steps}))'


@picture
def zoom(studio: Studio) -> Picture:
    photo, frames = studio.photo("lesser_panda", 192), max(6, studio.steps // 4)
    shown = recipes.zoom(studio.model, photo, "features.9", frames=frames, factor=1.04, steps=3, rate=0.004)
    save_animation(OUT / "zoom.gif", shown[::2, ::2, ::2], fps=12)
    picked = shown[np.linspace(0, frames, 4).astype(int)]
    command = 'recipes.zoom(model, photo, "features.9", steps=3, rate=0.004), four frames of [zoom.gif](zoom.gif)'
    return row(*picked), {}, command


@picture
def accentuation(studio: Studio) -> Picture:
    photo = studio.photo("lesser_panda")
    light = [transform.pad(8), transform.jitter(16)]
    options = {"steps": studio.steps // 4, "transforms": light, "importance": True}
    drawn = [recipes.accentuate(studio.model, photo, "features.9:5", layer=MIDDLE, strength=s, **options) for s in (0.1, 1.0)]
    seen = plot.maco_display(drawn[0].images[0, 0], np.asarray(drawn[0].importance)[0, 0], sigma=2.0)
    scores = [float(studio.see(x, "features.9")[..., 5].mean()) for x in (photo, *(d.images[0, 0] for d in drawn))]
    figures: dict[str, float] = dict(zip(("activation of the photograph", "strength 0.1", "strength 1"), scores, strict=True))
    return (
        row(photo, *(d.images[0, 0] for d in drawn), seen[..., :3] * seen[..., 3:] + 1 - seen[..., 3:]),
        figures,
        'recipes.accentuate(model, photo, "features.9:5", layer="features.6", strength=0.1, importance=True), strength 1, '
        "and where the first was changed",
    )


@picture
def adversarial(studio: Studio) -> Picture:
    photo, wrong = studio.photo("lesser_panda"), 340
    drawn = recipes.adversarial(studio.model, photo, wrong, radius=4 / 255, steps=studio.steps // 4).images[0, 0]
    before, after = (np.asarray(jax.nn.softmax(studio.model(jnp.asarray(x)[None])[0])) for x in (photo, drawn))
    figures = {"largest change": float(np.abs(drawn - photo).max()), "probability before": float(before[wrong])}
    figures["probability after"] = float(after[wrong])
    return (
        row(photo, drawn, np.clip(0.5 + 20 * (drawn - photo), 0, 1)),
        figures,
        "recipes.adversarial(model, photo, 340, radius=4 / 255)",
    )


@click.command()
@click.argument("names", nargs=-1)
@click.option("--weights", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--photographs", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--steps", default=256, show_default=True)
def main(names: tuple[str, ...], weights: Path, photographs: Path, steps: int) -> None:
    """Draw the pictures NAMES, or all, and write them with their figures."""
    studio = Studio(weights, photographs, steps)
    OUT.mkdir(parents=True, exist_ok=True)
    record = OUT / "figures.json"
    figures = json.loads(record.read_text()) if record.exists() else {}
    for name in names or PICTURES:
        began = time.perf_counter()
        image, measured, command = PICTURES[name](studio)
        save_image(OUT / f"{name}.jpg", image)
        rounded = {key: round(value, 3) for key, value in measured.items()}
        figures[name] = {"command": command, "figures": rounded, "seconds": round(time.perf_counter() - began)}
        print(name, figures[name], flush=True)
        record.write_text(json.dumps(figures, indent=1) + "\n")
    lines = ["# Gallery", "", "SqueezeNet 1.1 with ImageNet weights; written by `python -m tools.gallery`.", ""]
    for name in PICTURES:
        if name in figures:
            each = figures[name]
            said = "; ".join(f"{key} {value}" for key, value in each["figures"].items())
            lines += [
                f"![{name}]({name}.jpg)",
                "",
                f"`{each['command']}`  ",
                f"{said + ', ' if said else ''}{each['seconds']} s",
                "",
            ]
    (OUT / "README.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
