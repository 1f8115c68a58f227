"""Padding, of which a jitter cuts a part away."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Number, Text, Whole
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
    value: float | None = field(static=True)  # None: a random gray

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to `[B, H + 2w, W + 2w, C]`."""
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


def pad(w: Whole, mode: Text = "reflect", constant_value: Number | Text = 0.5) -> Pad:
    """Add `w` pixels on each of the four sides.

    Args:
        w: how many pixels.
        mode: "reflect" (mirror without repeating the border), "constant", "symmetric", "edge" (also
            "replicate") or "wrap" (also "circular"). Upper case is allowed, as in Lucid.
        constant_value: the color for mode "constant". "uniform" draws one gray in [0, 1) per call.

    Raises:
        ValueError: if the mode is unknown; at the call, if there are not `w` pixels to mirror.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> pad = transform.pad(12, mode="constant", constant_value=0.5)
        >>> pad(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (1, 48, 56, 3)
    """
    w = check_int(check_int(w, "w", low=0), "w", low=0, high=SIDE)
    if not isinstance(mode, str) or mode.lower() not in MODES:
        raise ValueError(f"mode={mode!r} is unknown; use one of {sorted(MODES)}.")
    if isinstance(constant_value, str):
        if constant_value != "uniform":
            raise ValueError(f"constant_value={constant_value!r} must be a number, or 'uniform' for a random grey.")
        return Pad(w=w, mode=MODES[mode.lower()], value=None)
    return Pad(w=w, mode=MODES[mode.lower()], value=check_grey(constant_value, "constant_value"))
