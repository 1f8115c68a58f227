"""Pictures of every recipe, with the figures that say whether they do what they should.

`python -m benchmarks.gallery --weights squeezenet1_1.pth --photographs FOLDER [NAMES]` writes docs/gallery.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens import modelzoo, recipes
from jaxlens.data import load_image, save_image
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
        """A photograph's central square."""
        (path,) = sorted(self.folder.glob(f"*_{name}.jpg"))
        image = np.asarray(load_image(path), np.float32)
        side = min(image.shape[:2])
        top, left = ((n - side) // 2 for n in image.shape[:2])
        square = jnp.asarray(image[top : top + side, left : left + side])[None]
        return np.asarray(jnp.clip(jax.image.resize(square, (1, size, size, 3), "linear"), 0, 1))[0]

    def see(self, image: np.ndarray, layer: str) -> np.ndarray:
        """A layer's activations of one picture."""
        return np.asarray(jaxlens.activations(self.model, jnp.asarray(image)[None], [layer])[layer][0], np.float64)


def picture(function: Callable[[Studio], Picture]) -> Callable[[Studio], Picture]:
    """Adds a picture to the gallery."""
    PICTURES[function.__name__] = function
    return function


def row(*images: np.ndarray) -> np.ndarray:
    """Pictures of one height side by side."""
    return np.concatenate(images, axis=1)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two arrays as vectors."""
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
    unit, options = "features.9:5", {"steps": studio.steps, "seed": 1}
    apart = recipes.diversity(studio.model, unit, "features.9", batch=4, weight=10.0, **options)
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
        f'recipes.diversity(model, "{unit}", "features.9", batch=4, weight=10.0); above without',
    )


@picture
def interpolation(studio: Studio) -> Picture:
    result = recipes.interpolate(studio.model, ("features.9", 5), ("features.9", 40), batch=5, steps=studio.steps)
    return row(*result.images[0]), {}, 'recipes.interpolate(model, ("features.9", 5), ("features.9", 40), batch=5)'


@picture
def maco(studio: Studio) -> Picture:
    result = recipes.maco(studio.model, "logits:1,340", size=224, steps=studio.steps // 2, crops=6)
    return row(*result.images[:, 0]), {}, 'recipes.maco(model, "logits:1,340", size=224, crops=6)'


@picture
def accentuation(studio: Studio) -> Picture:
    photo = studio.photo("lesser_panda")
    light = [transform.pad(8), transform.jitter(16)]
    options = {"steps": studio.steps // 4, "transforms": light}
    drawn = [recipes.accentuate(studio.model, photo, "features.9:5", layer=MIDDLE, strength=s, **options) for s in (0.1, 1.0)]
    return (
        row(photo, *(d.images[0, 0] for d in drawn)),
        {},
        'recipes.accentuate(model, photo, "features.9:5", layer="features.6")',
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
    """Draws the pictures and writes them with their figures; all of them unless NAMES are given."""
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
    lines = ["# Gallery", "", "SqueezeNet 1.1 with ImageNet weights; written by `python -m benchmarks.gallery`.", ""]
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
