"""`jaxlens/optvis/param/natural_spectrum.json`, fitted to a folder of photographs.

`python -m tools.natural_spectrum FOLDER`
"""

import json
from pathlib import Path

import click
import numpy as np
from PIL import Image

from jaxlens.optvis.param import spectrum_of

SIDE, KNOTS, HARMONICS = 256, 16, 3
OUT = Path(__file__).parents[1] / "jaxlens/optvis/param/natural_spectrum.json"


def photographs(folder: Path) -> np.ndarray:
    """Return the central squares of all pictures in a folder, `[N, SIDE, SIDE, 3]`."""
    pictures = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            rgb, (w, h) = image.convert("RGB"), image.size
        if min(w, h) >= SIDE:
            left, top = (w - SIDE) // 2, (h - SIDE) // 2
            pictures.append(np.asarray(rgb.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255)
    return np.stack(pictures)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path) -> None:
    """Fit the log magnitude of the photographs in FOLDER by least squares.

    It is linear between knots in log frequency, times cosines of the angle.
    """
    images = photographs(folder)
    window = np.hanning(SIDE)  # else the border's jump looks like structure along the axes
    mean = images.mean((1, 2), keepdims=True)
    size = np.asarray(spectrum_of(np.clip((images - mean) * np.outer(window, window)[None, :, :, None] + mean, 0, 1)))
    down, right = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    frequency, angle = np.hypot(down, right), np.arctan2(down, right)
    use = (frequency >= 2 / SIDE) & (frequency <= 0.5)
    knots = np.linspace(np.log(2 / SIDE), np.log(0.5), KNOTS)
    hats = np.stack([np.interp(np.log(frequency[use]), knots, row) for row in np.eye(KNOTS)], axis=1)
    basis = np.concatenate([hats * np.cos(2 * k * angle[use])[:, None] for k in range(HARMONICS)], axis=1)
    weights = 1 / np.sqrt(frequency[use])[:, None]  # rings have as many coefficients as their radius
    harmonics = []
    for channel in size:
        found = np.linalg.lstsq(basis * weights, np.log(channel[use])[:, None] * weights, rcond=None)[0][:, 0]
        harmonics.append(found.reshape(HARMONICS, KNOTS))
        error = np.sqrt(np.mean((basis @ found - np.log(channel[use])) ** 2))
        print(f"root mean square error of the logarithm: {error:.3f}")
    shift = float(harmonics[0][0][0])
    slope = float((harmonics[0][0][3] - harmonics[0][0][0]) / (knots[3] - knots[0]))
    for each in harmonics:
        each[0] -= shift
    model = {
        "of": f"{len(images)} ImageNet photographs, central {SIDE} pixels",
        "log_frequency": np.round(knots, 5).tolist(),
        "slope": round(slope, 4),
        "harmonics": np.round(harmonics, 4).tolist(),
    }
    OUT.write_text(json.dumps(model) + "\n")
    print(f"{OUT}: slope {slope:.3f} at low frequencies")


if __name__ == "__main__":
    main()
