"""Pictures that tests draw with."""

import numpy as np

H, W = 19, 27  # never square


def photo(h=H, w=W, channels=3):
    """A photo-like image: a smooth background, an edge, and correlated colours, within [0.05,
    0.95].
    """
    y, x = np.mgrid[:h, :w] / max(h, w)
    grey = 0.5 + 0.25 * np.sin(5 * x + 2 * y) + 0.2 * ((x - 0.6) ** 2 + (y - 0.3) ** 2 < 0.05)
    tint = [0.9, 1.0, 0.8, 0.95, 1.05][:channels]
    noise = 0.02 * np.random.default_rng(0).standard_normal((h, w, channels))
    return np.clip(grey[..., None] * tint + noise, 0.05, 0.95).astype(np.float32)
