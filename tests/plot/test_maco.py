"""Pictures that are opaque where it mattered: percentiles by hand, the blur as SciPy's."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxlens.plot import contact_sheet, maco_display

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(size=(6, 9, 3)).astype(np.float32)
ALPHA = RNG.uniform(size=(6, 9)).astype(np.float32)


def close(got, want):
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_contrast_by_hand():
    ramp = np.linspace(0.2, 0.7, 101)
    image = np.repeat(ramp[None, :, None], 3, -1).astype(np.float32)
    got = maco_display(image, np.ones((1, 101), np.float32), percentile_image=10)
    assert got.shape == (1, 101, 4) and got.dtype == np.float32
    close(got[0, :, 1], np.clip((ramp - 0.25) / 0.4, 0, 1))  # a tenth of the ramp is cut at either end
    close(maco_display(image, np.ones((1, 101), np.float32), percentile_image=0)[0, :, 1], np.linspace(0, 1, 101))


def test_contrast_has_one_scale_for_all_colors():
    image = np.zeros((4, 5, 3), np.float32)
    image[0, 0], image[1, 1] = (0.5, 0.1, 0.0), (0.25, 0.0, 0.5)
    close(maco_display(image, ALPHA[:4, :5], percentile_image=0)[..., :3], 2 * image)


def test_opacity_by_hand():
    image, mattered = np.zeros((2, 2, 3), np.float32), np.float32([[0, 1], [2, 4]])
    # the median of 0, 1, 2, 4 is 1.5
    close(maco_display(image, mattered, percentile_alpha=50)[..., 3], [[0, 2 / 3], [1, 1]])
    close(maco_display(image, mattered, percentile_alpha=100)[..., 3], [[0, 0.25], [0.5, 1]])
    close(maco_display(image, 1e-30 * mattered, percentile_alpha=100)[..., 3], [[0, 0.25], [0.5, 1]])
    channels = np.stack([mattered * 2, mattered * 0, mattered], -1)
    close(maco_display(image, channels, percentile_alpha=50), maco_display(image, mattered, percentile_alpha=50))


def test_defaults_are_the_papers():
    got = maco_display(IMAGE, ALPHA)
    low, high = np.percentile(IMAGE, [1, 99])
    close(got[..., :3], (np.clip(IMAGE, low, high) - low) / (high - low))
    top = np.percentile(ALPHA, 80)
    close(got[..., 3], np.clip(ALPHA, 0, top) / top)
    assert got.min() == 0 and got.max() == 1


def test_flat_pictures_and_few_pixels_that_matter():
    flat = np.full((6, 9, 3), 0.3, np.float32)
    close(maco_display(flat, ALPHA)[..., :3], 0.3)
    one = np.zeros((6, 9), np.float32)
    one[2, 3] = 5  # its 80th percentile is 0
    close(maco_display(IMAGE, one)[..., 3], one / 5)
    nothing = maco_display(IMAGE, np.zeros((6, 9), np.float32), sigma=1)
    assert (nothing[..., 3] == 0).all() and np.isfinite(nothing).all()


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2, 5])
def test_blur(sigma):
    sharp, soft = maco_display(IMAGE, ALPHA), maco_display(IMAGE, ALPHA, sigma=sigma)
    np.testing.assert_array_equal(soft[..., :3], sharp[..., :3])
    close(soft[..., 3], gaussian_filter(sharp[..., 3].astype(np.float64), sigma, mode="reflect"))
    assert sigma == 0.1 or np.abs(soft - sharp).max() > 0.05  # control: it does something


def test_it_lies_on_white_in_a_sheet():
    shown = maco_display(IMAGE, ALPHA)
    on_white = shown[..., 3:] * shown[..., :3] + 1 - shown[..., 3:]
    np.testing.assert_array_equal(np.asarray(contact_sheet(shown[None])), np.asarray(contact_sheet(on_white[None])))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((IMAGE[None], ALPHA), ValueError, r"image has shape \(1, 6, 9, 3\), but \[H, W, C\]"),
        ((IMAGE * 255, ALPHA), ValueError, r"image has values in .* but \[0, 1\] is needed. Divide by 255"),
        ((IMAGE * np.nan, ALPHA), ValueError, "image holds NaN"),
        ((IMAGE, ALPHA.T), ValueError, r"importance has shape \(9, 6\), but the image's \[6, 9\] or \[6, 9, C\]"),
        ((IMAGE, ALPHA[None]), ValueError, r"importance has shape \(1, 6, 9\)"),
        ((IMAGE, -ALPHA), ValueError, r"importance has values in \[-0.9\d*, .*\], but finite ones >= 0"),
        ((IMAGE, ALPHA * np.nan), ValueError, r"importance has values in \[nan, nan\]"),
        ((IMAGE, np.where(ALPHA > 0.5, np.inf, ALPHA)), ValueError, r"importance has values in \[.*, inf\]"),
        ((IMAGE, (ALPHA * 255).astype(np.uint8)), TypeError, "importance has dtype uint8"),
    ],
)
def test_bad_arrays(arguments, error, message):
    with pytest.raises(error, match=message):
        maco_display(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile_image": 50}, r"percentile_image=50 must be in \[0, 50\)"),
        ({"percentile_image": -1}, "percentile_image=-1"),
        ({"percentile_alpha": 0}, r"percentile_alpha=0 must be in \(0, 100\]"),
        ({"percentile_alpha": 101}, "percentile_alpha=101"),
        ({"percentile_alpha": float("nan")}, "percentile_alpha=nan"),
        ({"sigma": -2}, "sigma=-2 must be a number of pixels >= 0"),
        ({"sigma": float("inf")}, "sigma=inf"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        maco_display(IMAGE, ALPHA, **options)
