"""Synthetic pictures: seeds, parameters that mean what they say (measured from the pixels), bad
input.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxlens.data import synthetic
from jaxlens.data.synthetic import _scene, _strokes
from jaxlens.data.synthetic._classes import KINDS

SIZE = (64, 80)
DARK = {"foreground": (1, 1, 1), "background": (0, 0, 0)}


def ink(family, size=SIZE, **params):
    """Ink of one figure, `[H, W]`."""
    return np.asarray(synthetic.stimuli(family, size, **DARK, **params)[0])[0, ..., 0]


def coordinates(picture):
    height, width = picture.shape
    y, x = np.mgrid[:height, :width]
    return x - (width - 1) / 2, (height - 1) / 2 - y


def stripes(picture):
    """Orientation of the structure in degrees, from the structure tensor."""
    down, right = np.gradient(gaussian_filter(picture, 1.5))
    up = -down
    across = 0.5 * np.arctan2(2 * (right * up).sum(), (right**2 - up**2).sum())
    return (np.rad2deg(across) + 90) % 180


def apart(a, b, period):
    return np.abs((a - b + period / 2) % period - period / 2)


def test_there_are_enough_classes_and_each_is_in_its_family():
    assert len(synthetic.CLASSES) >= 48 and len(set(synthetic.CLASSES)) == len(synthetic.CLASSES)
    for kind in KINDS:
        ranges = synthetic.FAMILIES[kind.family].ranges
        assert list(kind.ranges) == list(ranges)
        assert all(low <= high for low, high in kind.ranges.values())


@pytest.fixture(scope="module")
def everything():
    return synthetic.generate(3, list(synthetic.CLASSES) * 2, SIZE)


@pytest.mark.slow
def test_every_class_draws_pictures(everything):
    assert everything.images.shape == (2 * len(synthetic.CLASSES), *SIZE, 3) and everything.images.dtype == np.float32
    assert everything.images.min() >= 0 and everything.images.max() <= 1
    assert (everything.images.std((1, 2, 3)) > 0.02).all()
    first, second = np.split(everything.images, 2)
    assert (np.abs(first - second).mean((1, 2, 3)) > 0.01).all()  # another place, other colours
    np.testing.assert_array_equal(everything.labels, np.tile(np.arange(len(synthetic.CLASSES)), 2))


def test_parameters_come_back_within_the_ranges_of_their_class(everything):
    for i, place in enumerate(everything.labels):
        kind = KINDS[place]
        present = {name for name, values in everything.params.items() if np.isfinite(values[i])}
        assert present == {*kind.ranges, "x", "y"}
        for name, (low, high) in kind.ranges.items():
            assert low - 1e-4 <= everything.params[name][i] <= high + 1e-4, (kind.name, name)


def test_a_picture_depends_on_seed_place_and_label_only():
    labels = ["bar-0", "curve-wide-90", "fur", "curve-tight-0", "bar-90"]
    whole = synthetic.generate(1, labels, SIZE)
    alone = synthetic.generate(1, labels[:1], SIZE)
    other = synthetic.generate(1, ["bar-0", "star-with-spots", "letter-A", "curve-tight-0"], SIZE)
    np.testing.assert_array_equal(whole.images[0], alone.images[0])
    np.testing.assert_array_equal(whole.images[3], other.images[3])
    again, another = synthetic.generate(jax.random.key(1), labels, SIZE), synthetic.generate(2, labels, SIZE)
    np.testing.assert_array_equal(whole.images, again.images)
    assert not np.array_equal(whole.images[0], another.images[0])


@pytest.mark.slow
@pytest.mark.parametrize("family", synthetic.FAMILIES)
def test_every_family_has_finite_gradients(family):
    ranges = synthetic.FAMILIES[family].ranges
    params = {name: jnp.full(1, (low + high) / 2) for name, (low, high) in ranges.items()}
    lattice = jax.random.uniform(jax.random.key(0), (1, 32, 32))

    def weight(x, y):
        """Ink, heavier towards the right and the bottom."""
        place = {"x": x.reshape(1), "y": y.reshape(1)}
        cover, amount, _ = _scene.figures(family, (20, 24), params | place, lattice, jnp.full((1, 3, 3), 0.5))
        return (cover * amount * jnp.arange(480.0).reshape(1, 20, 24)).sum()

    gradients = jax.grad(weight, (0, 1))(jnp.float32(0.7), jnp.float32(-0.3))
    assert np.isfinite(gradients).all() and np.abs(gradients).max() > 1e-3


@pytest.mark.parametrize("angle", [0, 20, 65, 110, 160])
def test_orientation_of_stripes(angle):
    for family, params in (("bar", {}), ("grating", {"wavelength": 7})):
        assert apart(stripes(ink(family, orientation=angle, **params)), angle, 180) < 2, family
    assert apart(stripes(ink("fur", orientation=angle)), angle, 180) < 15


def test_wavelength_of_a_grating():
    spectrum = np.abs(np.fft.rfft(ink("grating", (64, 96), orientation=90, wavelength=8) - 0.5, axis=1)).mean(0)
    assert spectrum.argmax() == 96 // 8


@pytest.mark.parametrize("angle", [0, 40, 130, 250])
@pytest.mark.parametrize("radius", [7, 18])
def test_a_curve_is_an_arc_of_its_circle(angle, radius):
    picture = ink("curve", orientation=angle, radius=radius, extent=120, width=2, x=3, y=-2)
    x, y = coordinates(picture)
    to = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    away = np.hypot(x - (3 - radius * to[0]), y - (-2 - radius * to[1]))  # from the centre of curvature
    assert np.average(away, weights=picture) == pytest.approx(radius, abs=0.15)
    assert np.average((away - radius) ** 2, weights=picture) < 0.7  # a line two pixels wide, with soft edges: 1/3 + 1/12
    # the ink's own middle lies on the axis of the arc
    middle = np.array([np.average(x, weights=picture) - 3, np.average(y, weights=picture) + 2])
    assert abs(middle @ [-to[1], to[0]]) < 0.1 and middle @ to < 0
    # anti-aliased: the ink is the arc's area, and its edge is soft
    assert picture.sum() == pytest.approx(np.deg2rad(120) * radius * 2 + np.pi, rel=0.04)
    assert 0.1 < ((picture > 0.05) & (picture < 0.95)).mean() / (picture > 0.05).mean() < 0.9


def test_a_circle_and_a_bar_have_their_areas():
    assert ink("circle", radius=12, width=3).sum() == pytest.approx(2 * np.pi * 12 * 3, rel=0.01)
    assert ink("bar", orientation=0, width=2.5).sum() == pytest.approx(2.5 * SIZE[1], rel=1e-4)


@pytest.mark.parametrize("angle", [0, 90, 215])
def test_figures_with_a_front_point_there(angle):
    to = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])

    def towards(picture):
        x, y = coordinates(picture)
        return picture[x * to[0] + y * to[1] > 1].sum(), picture[x * to[0] + y * to[1] < -1].sum()

    for family in ("line_ending", "corner"):
        ahead, behind = towards(ink(family, orientation=angle))
        assert ahead > 5 * max(behind, 1), family
    # fine stripes have more contrast between neighbours than coarse ones
    picture = ink("high_low", orientation=angle, carrier=angle + 90, high=4, low=24)
    ahead, behind = towards(np.hypot(*np.gradient(picture)) ** 2)
    assert ahead > 4 * behind
    edge = np.asarray(synthetic.stimuli("contrast", SIZE, orientation=angle, hue1=0, hue2=120, saturation=1, value=1)[0])[0]
    red_ahead, red_behind = towards(edge[..., 0])
    green_ahead, green_behind = towards(edge[..., 1])
    assert red_ahead > 20 * red_behind and green_behind > 20 * green_ahead


def test_the_hand_of_a_spiral():
    right, left = (ink("spiral", (64, 64), hand=hand, orientation=0, wavelength=8, radius=28) for hand in (-1, 1))
    assert np.abs(right - left).mean() > 0.1
    np.testing.assert_allclose(right, left[::-1], atol=1e-3)  # mirrored at the x axis

    # counter-clockwise outward: a quarter of a turn further on, the line is a quarter of a
    # wavelength further out
    def first(picture, x, y):
        radii = np.arange(10, 18, 0.25)
        values = [picture[round(31.5 - r * y), round(31.5 + r * x)] for r in radii]
        return radii[np.argmax(values)]

    shift = (first(left, 0, 1) - first(left, 1, 0)) % 8
    assert shift == pytest.approx(2, abs=1)


def test_shape_and_texture_are_independent():
    covers = []
    for shape in range(4):
        one, two = (
            np.asarray(synthetic.stimuli("object", SIZE, shape=shape, texture=t, orientation=0, second=(1, 0, 0), **DARK)[0])[0]
            for t in (0, 1)
        )
        assert np.abs(one - two).mean() > 0.02  # another texture ...
        np.testing.assert_allclose(one[..., 0], two[..., 0], atol=1e-6)  # ... in the same shape, which is all red or white
        covers.append(one[..., 0])
    areas = [cover.sum() for cover in covers]
    assert max(areas) < 1.8 * min(areas)
    assert all(np.abs(a - b).mean() > 0.02 for i, a in enumerate(covers) for b in covers[:i])


def test_letters_differ():
    letters = [ink("letter", letter=i, orientation=0, height=36) for i in range(len(_strokes.LETTERS))]
    assert all(np.abs(a - b).mean() > 0.03 for i, a in enumerate(letters) for b in letters[:i])


def test_figures_grow_with_the_picture():
    small, large = (synthetic.generate(5, ["circle"], size).params["radius"][0] for size in ((32, 40), SIZE))
    assert large == pytest.approx(2 * small, rel=1e-5)
    assert synthetic.stimuli("circle", 128)[1]["radius"][0] == 2 * synthetic.stimuli("circle", 64)[1]["radius"][0]


def test_stimuli_sweep():
    images, params = synthetic.stimuli("curve", SIZE, orientation=np.arange(0, 360, 30), radius=12)
    assert images.shape == (12, *SIZE, 3)
    assert params["orientation"].shape == params["radius"].shape == params["x"].shape == (12,)
    # a quarter of a turn is the same picture turned, where it is square
    square = np.asarray(synthetic.stimuli("curve", 64, orientation=[0, 90], radius=12)[0])
    np.testing.assert_allclose(np.rot90(square[0]), square[1], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: synthetic.generate(0, ["curve"]), LookupError, r"'curve' is not a class. Closest: \['curve"),
        (lambda: synthetic.generate(0, [71]), ValueError, "labels=71 must be an integer in 0..70"),
        (lambda: synthetic.generate(0, ["fur"], 8), ValueError, "size=8 must be an integer >= 16"),
        (lambda: synthetic.generate(-1, ["fur"]), ValueError, "seed=-1"),
        (lambda: synthetic.stimuli("curves"), LookupError, r"family='curves' is not known. Closest: \['curve'"),
        (
            lambda: synthetic.stimuli("bar", radius=3),
            TypeError,
            "'bar' has no parameter 'radius'; it has orientation, width, x, y",
        ),
        (lambda: synthetic.stimuli("bar", width=np.ones(3), x=np.ones(2)), ValueError, "arrays .N. of one length"),
        (lambda: synthetic.stimuli("bar", width=np.nan), ValueError, "must be finite"),
        (lambda: synthetic.stimuli("bar", background=(0, 0, 255)), ValueError, r"background=\(0, 0, 255\) must be three"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
