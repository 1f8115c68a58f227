"""Hue-coded channels: the formulas by hand, and one scale for all that is shown together."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.plot import collapse_channels, hue_to_rgb

RNG = np.random.default_rng(0)
HALF = 0.5**0.5
CYAN = (0, HALF, HALF)


def close(got, want):
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
    ("hue", "color"),
    [
        (0, (1, 0, 0)),
        (1 / 6, (HALF, HALF, 0)),
        (1 / 3, (0, 1, 0)),
        (1 / 2, CYAN),
        (2 / 3, (0, 0, 1)),
        (5 / 6, (HALF, 0, HALF)),
        (1, (1, 0, 0)),
        (-1 / 3, (0, 0, 1)),
        (-1e-20, (1, 0, 0)),
        # halfway between corners: s = sin(pi / 4) after red, (1 - s, 0, 0) + s (1, 1, 0) / sqrt(2)
        # = (0.79289, 0.5, 0)
        (1 / 12, (0.845862, 0.533402, 0)),
        (3 / 12, (0.533402, 0.845862, 0)),
    ],
)
def test_the_wheel(hue, color):
    close(hue_to_rgb(hue), color)


def test_the_wheel_is_smooth_and_of_length_one():
    hues = np.linspace(-1, 2, 3001, dtype=np.float32).reshape(1, -1)
    colors = hue_to_rgb(hues)
    assert colors.shape == (1, 3001, 3) and colors.dtype == np.float32 and colors.min() >= 0
    close(np.square(colors).sum(-1), 1)
    assert np.abs(np.diff(colors, axis=1)).max() < 0.02


def test_three_channels_are_red_green_and_blue():
    got = collapse_channels(np.eye(3, dtype=np.float32)[None])
    assert got.shape == (1, 3, 3) and got.dtype == np.float32
    close(got[0], np.eye(3))
    close(collapse_channels(np.eye(4, dtype=np.float32))[2], CYAN)


def test_mixtures_whiten():
    # (1, 1, 0): colours sum to (1, 1, 0), white is 2 - 1: (2, 2, 1) / 3 * sqrt(2), over its largest
    # value
    close(collapse_channels(np.float32([1, 1, 0])), (1, 1, 0.5))
    close(collapse_channels(np.float32([1, 1, 1])), (1, 1, 1))
    # (2, 1, 0): (2, 1, 0) + (3 - 2) = (3, 2, 1)
    close(collapse_channels(np.float32([2, 1, 0])), (1, 2 / 3, 1 / 3))


def test_negative_values_have_the_opposite_hue():
    close(collapse_channels(np.float32([[1], [-1], [0]])), [(1, 0, 0), CYAN, (0, 0, 0)])
    # two channels, four hues: red and yellow-green, cyan and blue-violet
    got = collapse_channels(np.float32([[1, 0], [0, 1], [-1, 0], [0, -1]]))
    close(got, hue_to_rgb(np.asarray([0, 1 / 4, 1 / 2, 3 / 4])))
    with pytest.raises(AssertionError):  # not those of two channels without negative values
        close(collapse_channels(np.float32([[1, 0], [0, 1]])), got[:2])


def test_signed_fixes_the_hues():
    positive = np.eye(2, dtype=np.float32)
    close(collapse_channels(positive), [(1, 0, 0), CYAN])
    close(collapse_channels(positive, signed=True), hue_to_rgb(np.asarray([0, 1 / 4])))
    close(collapse_channels(positive, signed=False), collapse_channels(positive))
    with pytest.raises(ValueError, match=r"values down to -1, but signed=False"):
        collapse_channels(-positive, signed=False)


def test_nothing_active_is_black():
    np.testing.assert_array_equal(collapse_channels(np.zeros((2, 3, 5), np.float32)), np.zeros((2, 3, 3)))
    assert collapse_channels(np.zeros((0, 3, 5), np.float32)).shape == (0, 3, 3)


@pytest.mark.parametrize("sign", [False, True])
def test_one_scale_for_all_positions(sign):
    a = RNG.uniform(-1 if sign else 0, 1, (2, 4, 5, 7)).astype(np.float32)
    got = collapse_channels(a)
    assert got.shape == (2, 4, 5, 3) and got.min() >= 0 and got.max() == 1
    for factor in (1e-30, 0.3, 1e30):
        np.testing.assert_allclose(collapse_channels(a * np.float32(factor)), got, atol=1e-5)
    a[0, 0, 0] *= 0.25
    dimmed = collapse_channels(a)
    np.testing.assert_allclose(dimmed[0, 0, 0] / dimmed[1, 2, 3], got[0, 0, 0] / got[1, 2, 3] / 4, rtol=1e-4)
    assert np.abs(dimmed - got).max() > 0.1  # control: what is not a common factor shows
    assert np.abs(collapse_channels(a[..., ::-1]) - dimmed).max() > 0.1  # and so does which channel it is


def test_brightness_is_the_norm():
    a = RNG.uniform(0, 1, (40, 6)).astype(np.float32)
    brightness = np.linalg.norm(collapse_channels(a), axis=-1) / np.linalg.norm(a, axis=-1)
    np.testing.assert_allclose(brightness, brightness[0], rtol=1e-5)


def test_low_precision_and_jax_arrays():
    a = RNG.uniform(0, 1, (4, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(collapse_channels(jnp.asarray(a, jnp.bfloat16)), collapse_channels(a), atol=0.02)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: collapse_channels(np.float32(1)), ValueError, r"activations has shape \(\), but \[..., C\] with C >= 1"),
        (lambda: collapse_channels(np.zeros((3, 0), np.float32)), ValueError, r"shape \(3, 0\)"),
        (lambda: collapse_channels(np.zeros((3, 2), np.uint8)), TypeError, "dtype uint8, but floats are needed. Convert"),
        (lambda: collapse_channels(np.float32([1, np.nan])), ValueError, "activations has values that are NaN or infinite"),
        (lambda: hue_to_rgb(np.inf), ValueError, "hue has values that are NaN or infinite"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
