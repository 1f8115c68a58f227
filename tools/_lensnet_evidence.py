"""Evidence that lensnet has learned the synthetic pictures: accuracy, probes, curve units.

Every measurement has a control: the same network with random weights must fail it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from jaxlens import Model, activations
from jaxlens.data import synthetic

LAYERS = ("conv2d2", "mixed3a", "mixed3b", "mixed4a", "mixed4b")
STEP = 15  # degrees between stimuli
ANGLES = np.arange(0, 360, STEP, dtype=np.float32)
TURNS = (30, 75, 120, 195, 270)  # degrees by which pictures are rotated to see whether the peaks follow
REPEATS = 12  # stimuli per angle, of other colors, sizes and places
TOLERANCE = 15.0  # degrees


@dataclasses.dataclass(frozen=True)
class Unit:
    """A channel and what it is tuned to.

    Attributes:
        layer, channel: The channel.
        peak: The angle of its largest response, in degrees.
        error: The largest deviation of the peak from the place where rotated pictures should have
            it, in degrees.
    """

    layer: str
    channel: int
    peak: float
    error: float = 0.0


def accuracy(model: Model, seed: int, per_class: int = 40, batch: int = 284) -> float:
    """Return the fraction of fresh pictures, equally many of each class, that come out right."""
    labels = np.repeat(np.arange(len(synthetic.CLASSES)), per_class)
    pictures = synthetic.generate(seed, labels)
    hits = [model(pictures.images[i : i + batch]).argmax(-1) == labels[i : i + batch] for i in range(0, len(labels), batch)]
    return float(np.concatenate(hits).mean())


def orientation_error(model: Model, family: str, layer: str = "mixed4a", seed: int = 7, per_class: int = 160) -> float:
    """Return the median error in degrees of orientations that a linear probe reads from a layer.

    The probe is ridge regression from the layer's mean activations to cosine and sine of the angle
    (of twice the angle for bars, which have no front), fitted to three quarters of the pictures and
    judged on the rest. Guessing gives 90 for curves and 45 for bars.
    """
    labels = [name for name in synthetic.CLASSES if name.startswith(f"{family}-")]
    pictures = synthetic.generate(seed, labels * (per_class * 8 // len(labels)))
    angle = np.deg2rad(pictures.params["orientation"]) * (2 if family == "bar" else 1)
    values = _responses(model, pictures.images, (layer,), pool="mean")[layer]
    cut = len(values) * 3 // 4
    mean, spread = values[:cut].mean(0), values[:cut].std(0) + 1e-6
    x = np.concatenate([(values - mean) / spread, np.ones((len(values), 1), np.float32)], 1)
    y = np.stack([np.cos(angle), np.sin(angle)], 1)
    weights = np.linalg.solve(x[:cut].T @ x[:cut] + 10 * np.eye(x.shape[1], dtype=np.float32), x[:cut].T @ y[:cut])
    guess = x[cut:] @ weights
    error = np.abs(_wrap(np.rad2deg(np.arctan2(guess[:, 1], guess[:, 0]) - angle[cut:])))
    return float(np.median(error)) / (2 if family == "bar" else 1)


def curve_units(model: Model, layers: tuple[str, ...] = LAYERS, seed: int = 3) -> list[Unit]:
    """Find channels that detect curves of one orientation.

    See Cammarata et al. 2020, "Curve Detectors".

    The response of a channel is the largest value of its map. A curve unit

    - is tuned: its mean response at its peak is twice that at any orientation 90 degrees or more
      away;
    - is reliable: orientation explains half of the variance of its response to curves of random
      color, width and place;
    - needs curvature: the straight tangent at its peak gives at most 70 % of its response;
    - turns: when the *pictures* are rotated, its peak moves by the same angle, within 15 degrees.
    """
    pictures = _show("curve", seed, ("width", "radius", "extent"))
    straight = _show("bar", seed, ("width",), turn=90)
    curved, lines = _responses(model, pictures, layers), _responses(model, straight, layers)
    turned = {turn: _responses(model, _rotated(pictures, turn), layers) for turn in TURNS}
    units = []
    for layer in layers:
        table = _table(curved[layer])
        peaks, best, far = _peaks(table)
        tangent = np.take_along_axis(_table(lines[layer]).mean(0), best[None], 0)[0]
        top = np.take_along_axis(table.mean(0), best[None], 0)[0]
        good = (top > 1e-3) & (top >= 2 * far) & (_explained(table) >= 0.5) & (tangent <= 0.7 * top)
        for channel in np.flatnonzero(good):
            moves = [_wrap(_peaks(_table(turned[turn][layer]))[0][channel] + turn - peaks[channel]) for turn in TURNS]
            if np.abs(moves).max() <= TOLERANCE:
                units.append(Unit(layer, int(channel), float(peaks[channel]), float(np.abs(moves).max())))
    return units


def high_low_units(model: Model, layers: tuple[str, ...] = LAYERS, seed: int = 5) -> list[Unit]:
    """Find channels that detect boundaries between high and low frequency.

    See Schubert et al. 2021, "High-Low Frequency Detectors".

    Such a unit prefers one side for the fine pattern: with the sides swapped its mean response
    falls to half or less, it does so reliably (the swap explains half of the variance), and neither
    pattern alone gives more than 70 % of its response.
    """
    both, fine, coarse = (
        _responses(model, _show("high_low", seed, ("carrier",), high=high, low=low), layers)
        for high, low in ((3.5, 20.0), (3.5, 3.5), (20.0, 20.0))
    )
    units = []
    for layer in layers:
        table = _table(both[layer])
        peaks, best, _ = _peaks(table)
        top = np.take_along_axis(table.mean(0), best[None], 0)[0]
        opposite = (best + len(ANGLES) // 2) % len(ANGLES)
        here = np.take_along_axis(table, best[None, None], 1)[:, 0]
        there = np.take_along_axis(table, opposite[None, None], 1)[:, 0]
        swap = _explained(np.stack([here, there], 1))
        alone = np.maximum(fine[layer].mean(0), coarse[layer].mean(0))
        good = (top > 1e-3) & (there.mean(0) <= 0.5 * top) & (swap >= 0.5) & (alone <= 0.7 * top)
        units += [Unit(layer, int(channel), float(peaks[channel])) for channel in np.flatnonzero(good)]
    return units


def _nuisance(seed: int) -> list[dict[str, Any]]:
    """Draw what should not matter: colors, line width, place, and the radius of curves."""
    draws = np.asarray(jax.random.uniform(jax.random.key(seed), (REPEATS, 12)))
    found = []
    for i, u in enumerate(draws):
        back, front = (0.15 + 0.2 * u[:3], 0.65 + 0.35 * u[3:6]) if i % 2 else (0.65 + 0.35 * u[:3], 0.2 * u[3:6])
        found.append(
            {
                "background": back.tolist(),
                "foreground": front.tolist(),
                "width": 2 + 1.5 * u[6],
                "x": 6 * u[7] - 3,
                "y": 6 * u[8] - 3,
                "radius": 7 + 10 * u[9],
                "extent": 120 + 30 * u[10],
                "carrier": 180 * u[11],
            }
        )
    return found


def _show(family: str, seed: int, varied: tuple[str, ...], *, turn: float = 0, **params: Any) -> np.ndarray:
    """Return every repeat at every angle, `[REPEATS * angles, H, W, 3]`."""
    varied = (*varied, "background", "foreground", "x", "y")
    parts = [
        synthetic.stimuli(family, orientation=ANGLES + turn, **{name: each[name] for name in varied}, **params)[0]
        for each in _nuisance(seed)
    ]
    return np.concatenate(parts)


def _responses(
    model: Model, images: Any, layers: tuple[str, ...], *, pool: str = "max", batch: int = 96
) -> dict[str, np.ndarray]:
    """Reduce each channel's map to one number per picture, `[N, C]`."""
    parts = []
    for low in range(0, len(images), batch):
        part = images[low : low + batch]
        padded = np.resize(part, (batch, *part.shape[1:]))  # one program for all batches
        maps = activations(model, padded, layers)
        parts.append({name: np.asarray(getattr(value, pool)((1, 2)))[: len(part)] for name, value in maps.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in layers}


def _table(responses: np.ndarray) -> np.ndarray:
    """Reshape `[N, C]`, in the order of the stimuli, to `[repeats, angles, C]`."""
    return responses.reshape(REPEATS, len(ANGLES), -1)


def _peaks(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three values for each channel.

    They are the peak in degrees, interpolated between stimuli; the nearest stimulus; and the
    largest response 90 degrees or more away.
    """
    mean = table.mean(0)
    best = mean.argmax(0)
    near = np.stack([np.take_along_axis(mean, (best + d)[None] % len(ANGLES), 0)[0] for d in (-2, -1, 0, 1, 2)])
    weights = near - near.min(0)
    shift = (weights * np.arange(-2, 3).reshape(-1, 1)).sum(0) / np.maximum(weights.sum(0), 1e-9)
    away = range(90 // STEP, len(ANGLES) - 90 // STEP + 1)
    far = np.stack([np.take_along_axis(mean, (best + d)[None] % len(ANGLES), 0)[0] for d in away]).max(0)
    return (ANGLES[best] + STEP * shift) % 360, best, far


def _explained(table: np.ndarray) -> np.ndarray:
    """Return the share of the variance that lies between the columns of `[repeats, columns, C]`."""
    total = table.var((0, 1))
    return table.mean(0).var(0) / np.maximum(total, 1e-12)


def _rotated(images: Any, angle: float) -> jax.Array:
    """Turn pictures counter-clockwise about their middle, bilinearly, and repeat the border."""
    height, width = images.shape[1:3]
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    y, x = np.mgrid[:height, :width].astype(np.float32) - np.array([height - 1, width - 1], np.float32).reshape(2, 1, 1) / 2
    places = jnp.asarray(np.stack([c * y + s * x + (height - 1) / 2, c * x - s * y + (width - 1) / 2]), jnp.float32)

    def turn(channel: jax.Array) -> jax.Array:
        return map_coordinates(channel, list(places), order=1, mode="nearest")

    return jnp.clip(jax.vmap(jax.vmap(turn, -1, -1))(jnp.asarray(images)), 0, 1)


def _wrap(angle: Any) -> Any:
    """Map an angle in degrees to -180..180."""
    return (np.asarray(angle) + 180) % 360 - 180
