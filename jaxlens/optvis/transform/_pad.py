"""Padding, so that jitter has something to cut away."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._base import check_call, check_grey

# The names of Lucid (tf.pad) and Lucent (torch's F.pad) to NumPy's.
MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "edge": "edge",
    "replicate": "edge",
    "circular": "wrap",
    "wrap": "wrap",
}


@pytree
class Pad:
    """See `pad`."""

    w: int = field(static=True)
    mode: str = field(static=True)
    value: float | None = field(static=True)  # None: a random grey

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, C]` to `[B, H + 2w, W + 2w, C]`."""
        images = check_call(images, "pad")
        widths = ((0, 0), (self.w, self.w), (self.w, self.w), (0, 0))
        if self.mode == "constant":
            grey = jax.random.uniform(key, (), jnp.float32) if self.value is None else self.value
            return jnp.pad(images, widths, constant_values=jnp.asarray(grey, images.dtype))
        _, h, w, _ = images.shape
        room = min(h, w) - (self.mode == "reflect")
        if self.mode in ("reflect", "symmetric") and self.w > room:
            raise ValueError(
                f"pad w={self.w} with mode={self.mode!r} needs images larger than that, but they are {h}x{w}. "
                f"Use w <= {room}, or mode='constant'."
            )
        return jnp.pad(images, widths, mode=self.mode)


def pad(w: Any, mode: Any = "reflect", constant_value: Any = 0.5) -> Pad:
    """Adds `w` pixels on each of the four sides.

    Args:
        w: how many.
        mode: "reflect" (mirror without repeating the border), "constant", "symmetric", "edge" (also "replicate")
            or "wrap" (also "circular"); in any case, as in Lucid.
        constant_value: the colour for mode "constant"; "uniform" draws one grey in [0, 1) per call.

    Raises:
        ValueError: for an unknown mode; at the call, if there are not `w` pixels to mirror.
    """
    w = check_int(check_int(w, "w", low=0), "w", low=0, high=SIDE)
    if not isinstance(mode, str) or mode.lower() not in MODES:
        raise ValueError(f"mode={mode!r} is unknown; use one of {sorted(MODES)}.")
    if isinstance(constant_value, str):
        if constant_value != "uniform":
            raise ValueError(f"constant_value={constant_value!r} must be a number, or 'uniform' for a random grey.")
        return Pad(w=w, mode=MODES[mode.lower()], value=None)
    return Pad(w=w, mode=MODES[mode.lower()], value=check_grey(constant_value, "constant_value"))
