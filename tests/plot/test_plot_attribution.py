"""Attribution maps as pictures: pixels worked out by hand, captum's scaling, and what must not
crash or mislead.
"""

import captum.attr._utils.visualization as theirs
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

from jaxlens.attribution import Attribution
from jaxlens.data import to_uint8
from jaxlens.plot import attribution_map, attributions
from jaxlens.plot._attribution import WIDTH
from jaxlens.plot._panel import COLORS, SIGNS, Look
from tests.plot.test_sheet import find

H, W = 24, 40
RNG = np.random.default_rng(0)
RED, BLUE, PURPLE = COLORS["positive"][-1], COLORS["negative"][-1], COLORS["absolute"][-1]
# Inside the positive, the negative, the weak positive region, and where nothing is.
PLACES = {"positive": (3, 4), "negative": (14, 30), "weak": (20, 3), "nothing": (3, 30)}


def planted():
    """Regions of +2, -2 and +1 in three channels that add up to them."""
    total = np.zeros((H, W))
    total[:8, :10], total[10:18, 20:], total[19:, :5] = 2, -2, 1
    noise = RNG.integers(-8, 9, size=(H, W)) / 4  # exact in float32, whatever is added
    return np.stack([total + noise, -noise / 2, -noise / 2], -1).astype(np.float32)


IMAGE = RNG.uniform(size=(H, W, 3)).astype(np.float32)


def at(picture, place):
    return np.asarray(picture)[PLACES[place]].astype(int)


def close(seen, wanted):
    return np.abs(seen - 255 * np.clip(wanted, 0, 1)).max() <= 1


def half(colors):
    """The colour in the middle between white and full, from the list of colours at equal
    distances.
    """
    return np.asarray(colors[len(colors) // 2])


@pytest.mark.parametrize(
    ("sign", "colors"),
    [
        ("all", {"positive": RED, "negative": BLUE, "weak": half(COLORS["positive"]), "nothing": 1}),
        ("positive", {"positive": RED, "negative": 1, "weak": half(COLORS["positive"]), "nothing": 1}),
        ("negative", {"positive": 1, "negative": BLUE, "weak": 1, "nothing": 1}),
        ("absolute", {"positive": PURPLE, "negative": PURPLE, "weak": half(COLORS["absolute"]), "nothing": 1}),
    ],
)
def test_heat_maps_and_blends(sign, colors):
    values = planted()
    heat = attribution_map(values, IMAGE, sign=sign)
    assert heat.size == (W, H) and heat.mode == "RGB"
    blended = attribution_map(values, IMAGE, view="blended", sign=sign, alpha=0.3)
    for place, color in colors.items():
        assert close(at(heat, place), np.broadcast_to(color, 3)), place
        assert close(at(blended, place), 0.3 * np.broadcast_to(color, 3) + 0.7 * IMAGE[PLACES[place]].mean()), place


@pytest.mark.parametrize(
    ("sign", "sizes"),
    [
        ("positive", {"positive": 1, "negative": 0, "weak": 0.5, "nothing": 0}),
        ("negative", {"positive": 0, "negative": 1, "weak": 0, "nothing": 0}),
        ("absolute", {"positive": 1, "negative": 1, "weak": 0.5, "nothing": 0}),
    ],
)
def test_masked_is_on_black_and_alpha_on_white(sign, sizes):
    masked, clear = (attribution_map(planted(), IMAGE, view=view, sign=sign) for view in ("masked", "alpha"))
    for place, size in sizes.items():
        assert close(at(masked, place), size * IMAGE[PLACES[place]]), place
        assert close(at(clear, place), size * IMAGE[PLACES[place]] + 1 - size), place


def test_the_original_is_the_image():
    np.testing.assert_array_equal(np.asarray(attribution_map(planted(), IMAGE, view="original")), to_uint8(IMAGE))
    grey = attribution_map(planted(), IMAGE[..., :1], view="original")
    np.testing.assert_array_equal(np.asarray(grey), to_uint8(np.repeat(IMAGE[..., :1], 3, -1)))


@pytest.mark.parametrize("outliers", [2, 10, 60])
@pytest.mark.parametrize("sign", list(SIGNS))
def test_scaled_as_by_captum(sign, outliers):
    values = RNG.normal(size=(H, W))
    look = Look(view="heat_map", sign=sign, outliers=outliers, cmap=None, alpha=0.5, colorbar=False)
    name = {"absolute": "absolute_value"}.get(sign, sign)
    wanted = theirs._normalize_attr(values, name, outliers)
    np.testing.assert_allclose(np.clip(SIGNS[sign](values) / look.top(values), -1, 1), wanted, rtol=1e-12, atol=1e-15)
    # The picture holds these numbers: read back through a colormap that is the number itself.
    shade = lambda v: np.repeat(v[..., None], 3, -1)  # noqa: E731
    picture = attribution_map(values, np.zeros((H, W, 3)), sign=sign, outliers=outliers, cmap=shade)
    read = np.asarray(picture)[..., 0] / 255
    assert np.abs((2 * read - 1 if sign == "all" else read) - wanted).max() <= 1.01 / 255
    assert (np.abs(wanted) == 1).sum() > 1  # something was clipped


def test_outliers_by_hand():
    values = np.asarray([[1.0, 1, 1, 1], [1, 1, 2, -12]])  # magnitudes add up to 20, the largest holds 60 percent
    top = lambda outliers, sign="all": Look("heat_map", sign, outliers, None, 0.5, False).top(values)  # noqa: E731
    assert [top(outliers) for outliers in (0, 59, 60, 69, 70, 71)] == [12, 12, 2, 2, 1, 1]
    assert top(0, "positive") == 2 and top(0, "negative") == 12
    assert top(99.999) == 1


def test_sizes_do_not_matter_but_shared_scales_do():
    weak, strong = planted(), 4 * planted()
    heat = {name: np.asarray(attribution_map(v, IMAGE)) for name, v in {"weak": weak, "strong": strong}.items()}
    tiny = attribution_map(1e-30 * weak, IMAGE)
    for other in (heat["strong"], np.asarray(tiny)):
        assert np.abs(heat["weak"].astype(int) - other).max() <= 1
    shared = attribution_map(weak, IMAGE, scale=4.0)
    assert close(at(shared, "positive"), half(COLORS["positive"])) and close(at(shared, "negative"), half(COLORS["negative"]))
    table = np.asarray(attributions({"weak": weak, "strong": strong}, IMAGE[None], shared_scale=True, zoom=1))
    apart = np.asarray(attributions({"weak": weak, "strong": strong}, IMAGE[None], zoom=1))
    scaled = np.asarray(attribution_map(weak, IMAGE, scale=8.0))  # strong's own scale
    assert len(find(table, scaled)) == 1 and len(find(apart, scaled)) == 0
    assert len(find(table, np.asarray(attribution_map(strong, IMAGE, scale=8.0)))) == 1
    given = attributions({"weak": weak, "strong": strong}, IMAGE[None], scale=8.0, zoom=1)
    np.testing.assert_array_equal(np.asarray(given), table)


def test_coarse_maps_are_resized_after_their_channels_are_summed():
    coarse = RNG.normal(size=(3, 5, 4)).astype(np.float32)
    fine = jax.image.resize(jnp.asarray(coarse.sum(-1)), (H, W), "bilinear")
    for sign in SIGNS:
        ours = np.asarray(attribution_map(coarse, IMAGE, sign=sign)).astype(int)
        assert np.abs(ours - np.asarray(attribution_map(np.asarray(fine), IMAGE, sign=sign))).max() <= 1
    nearest = np.asarray(attribution_map(coarse.repeat(8, 0).repeat(8, 1), IMAGE)).astype(int)
    assert np.abs(np.asarray(attribution_map(coarse, IMAGE)) - nearest).max() > 20


def test_a_batch_stands_side_by_side_each_with_its_own_scale():
    values = np.stack([planted(), 3 * planted()])
    images = np.stack([IMAGE, IMAGE[::-1]])
    both = np.asarray(attribution_map(values, images, view="blended"))
    one = [np.asarray(attribution_map(v, x, view="blended")) for v, x in zip(values, images, strict=True)]
    np.testing.assert_array_equal(both, np.concatenate(one, 1))
    found = Attribution(values=jnp.asarray(values), scores=jnp.zeros(2), method="saliency")
    np.testing.assert_array_equal(np.asarray(attribution_map(found, images, view="blended")), both)
    zoomed = np.asarray(attribution_map(found, images, view="blended", zoom=2))
    np.testing.assert_array_equal(zoomed[::2, ::2], both)
    np.testing.assert_array_equal(zoomed[1::2, 1::2], both)


@pytest.mark.parametrize("view", ["heat_map", "blended", "masked", "alpha"])
def test_a_map_of_zeros_is_blank_with_a_note(view):
    sign = "positive"
    with pytest.raises(AssertionError, match="scale factor = 0"):
        theirs._normalize_attr(np.zeros((H, W)), "positive", 2)
    zero, negative = np.zeros((H, 120, 3), np.float32), np.full((H, 120, 3), -1, np.float32)
    image = np.full((H, 120, 3), 0.5, np.float32)
    blank, none = (np.asarray(attribution_map(v, image, view=view, sign=sign, colorbar=True)) for v in (zero, negative))
    for picture in (blank, none):
        assert picture.shape == image.shape
        assert (picture == 255).mean() > 0.5 and (picture < 128).all(-1).sum() > 10  # paper with ink
    assert not np.array_equal(blank, none)
    np.testing.assert_array_equal(blank, np.asarray(attribution_map(zero, image, view=view, sign=sign, scale=1.0)))
    assert attributions({"zero": zero}, image[None], view=view, sign=sign, shared_scale=True).size[0] > 120


def test_colors_can_be_chosen():
    plasma = np.asarray(attribution_map(planted(), IMAGE, sign="absolute", cmap="plasma"))
    assert close(plasma[PLACES["positive"]], matplotlib.colormaps["plasma"](1.0)[:3])
    assert close(plasma[PLACES["nothing"]], matplotlib.colormaps["plasma"](0.0)[:3])
    both = np.asarray(attribution_map(planted(), IMAGE, cmap=matplotlib.colormaps["coolwarm"]))
    assert close(both[PLACES["nothing"]], matplotlib.colormaps["coolwarm"](0.5)[:3])
    assert close(both[PLACES["negative"]], matplotlib.colormaps["coolwarm"](0.0)[:3])


def test_colour_bar_and_title():
    bare = np.asarray(attribution_map(planted(), IMAGE))
    barred = np.asarray(attribution_map(planted(), IMAGE, colorbar=True))
    np.testing.assert_array_equal(barred[:H], bare)
    bar = barred[H + 6]
    assert close(bar[0], BLUE) and close(bar[-1], RED) and (bar[W // 2 - 1 : W // 2 + 1] > 200).all()
    assert (barred[H + 10 :] < 128).any()  # numbers
    one_sided = np.asarray(attribution_map(planted(), IMAGE, sign="negative", colorbar=True))[H + 6]
    assert close(one_sided[0], np.ones(3)) and close(one_sided[-1], BLUE)
    assert attribution_map(planted(), IMAGE, view="original", colorbar=True).size == (W, H)
    titled = np.asarray(attribution_map(planted(), IMAGE, title="a title that is wider than the map"))
    assert len(find(titled, bare)) == 1 and titled.shape[0] > H + 10 and titled.shape[1] > W + 16


def test_a_table_has_a_row_for_each_image_and_a_column_for_each_method():
    images = RNG.uniform(size=(2, H, W, 3)).astype(np.float32)
    maps = {name: RNG.normal(size=(2, h, w, 3)).astype(np.float32) for name, h, w in (("first", H, W), ("second", 6, 5))}
    table = np.asarray(attributions(maps, images, ["dog", "cat"], zoom=1, title="two"))
    places = [
        [find(table, np.asarray(tile)) for tile in (to_uint8(x), *(attribution_map(m[i], x) for m in maps.values()))]
        for i, x in enumerate(images)
    ]
    assert all(len(place) == 1 for row in places for place in row)
    corners = np.asarray(places)[:, :, 0]  # rows, columns, (y, x)
    assert (corners[:, :, 0] == corners[:, :1, 0]).all() and corners[1, 0, 0] > corners[0, 0, 0] + H
    assert (corners[:, :, 1] == corners[:1, :, 1]).all() and (np.diff(corners[0, :, 1]) > W).all()
    left = corners[0, 0, 1]
    for top, _ in corners[:, 0]:
        assert (table[top : top + H, :left] < 128).all(-1).any()  # names of images
    for x in corners[0, :, 1]:
        assert (table[corners[0, 0, 0] - 12 : corners[0, 0, 0], x : x + W] < 128).all(-1).any()  # names of methods
    bare = np.asarray(attributions(maps, images, original=False, zoom=1))
    assert len(find(bare, to_uint8(images[0]))) == 0 and bare.shape[1] < table.shape[1]


def test_notes_stand_below_their_panels():
    images, maps = IMAGE[None].repeat(2, 0), {"a": np.stack([planted()] * 2), "b": np.stack([planted()[::-1]] * 2)}
    plain = np.asarray(attributions(maps, images, zoom=2))
    noted = np.asarray(attributions(maps, images, notes={"b": ["deletion 0.1\ninsertion 0.9", "deletion 0.2"]}, zoom=2))
    assert noted.shape[0] > plain.shape[0] and noted.shape[1] == plain.shape[1]
    zoom = 2
    panel = {name: np.asarray(attribution_map(v[0], IMAGE, zoom=zoom)) for name, v in maps.items()}
    ink = {}
    for name in maps:
        for top, x in find(noted, panel[name]):
            below = noted[top + zoom * H : top + zoom * H + 40, x : x + zoom * W]
            ink.setdefault(name, []).append(int((below < 128).all(-1).sum()))
    assert ink["a"] == [0, 0] and ink["b"][0] > ink["b"][1] > 20


def test_attributions_are_named_by_method_and_by_layer_where_needed():
    make = lambda method, layer: Attribution(  # noqa: E731
        values=jnp.asarray(planted()[None]), scores=jnp.zeros(1), method=method, layer=layer
    )
    one = attributions([make("saliency", "input"), make("grad_cam", "mixed4a")], IMAGE[None])
    want = attributions({"saliency": planted(), "grad_cam": planted()}, IMAGE[None])
    np.testing.assert_array_equal(np.asarray(one), np.asarray(want))
    two = attributions([make("grad_cam", "mixed4a"), make("grad_cam", "mixed5b")], IMAGE[None])
    want = attributions({"grad_cam mixed4a": planted(), "grad_cam mixed5b": planted()}, IMAGE[None])
    np.testing.assert_array_equal(np.asarray(two), np.asarray(want))
    with pytest.raises(ValueError, match="maps holds 'grad_cam mixed4a' more than once"):
        attributions([make("grad_cam", "mixed4a")] * 2, IMAGE[None])
    with pytest.raises(TypeError, match=r"maps\[0\] is of type ndarray, which has no name"):
        attributions(list(planted()[None]), IMAGE[None])


BAD = planted()
BAD[3, 3, 0] = np.nan
TOKENS = Attribution(values=jnp.ones((1, 7, 4)), scores=jnp.zeros(1), method="saliency", layer="blocks.3")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((BAD, IMAGE), {}, r"values has values that are NaN or infinite, in image\(s\) 0"),
        ((planted(), IMAGE), {"view": "heatmap"}, "view='heatmap' must be one of heat_map, blended, masked, alpha, original"),
        ((planted(), IMAGE), {"sign": "both"}, "sign='both' must be one of all, positive, negative, absolute"),
        ((planted(), IMAGE), {"view": "masked"}, "view='masked' cannot tell signs apart, but sign='all'. Choose one of 'pos"),
        ((planted(), IMAGE), {"view": "alpha"}, "view='alpha' cannot tell signs apart"),
        ((planted(), IMAGE), {"outliers": 100}, r"outliers=100 must be a percentage in \[0, 100\)"),
        ((planted(), IMAGE), {"outliers": -1}, r"outliers=-1 must be"),
        ((planted(), IMAGE), {"outliers": float("nan")}, r"outliers=nan must be"),
        ((planted(), IMAGE), {"alpha": 1.5}, r"alpha=1.5 must be in \[0, 1\]"),
        ((planted(), IMAGE), {"scale": 0.0}, "scale=0.0 must be a number > 0"),
        ((planted(), IMAGE), {"zoom": 0}, "zoom=0 must be an integer >= 1"),
        ((planted(), IMAGE), {"cmap": "jett"}, "cmap='jett' is no colormap of matplotlib"),
        ((planted(), 255 * IMAGE), {}, r"image has values in .* but \[0, 1\] is needed"),
        ((planted(), IMAGE[..., :2]), {}, r"image has shape \(1, 24, 40, 2\), but .* C of 1 or 3"),
        ((np.ones((2, H, W, 3)), IMAGE), {}, r"values has maps of 2 image\(s\), but there are 1"),
        ((np.ones((2, 1, H, W, 3)), IMAGE), {}, r"values has shape \(2, 1, 24, 40, 3\), but maps \[B, h, w, C\] are needed"),
        ((np.ones((0, W, 3)), IMAGE), {}, r"values has shape \(0, 40, 3\)"),
        ((TOKENS, IMAGE), {}, r"values has shape \(1, 7, 4\), .* belongs to layer 'blocks.3', which has no map"),
    ],
)
def test_bad_maps(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        attribution_map(*arguments, **options)


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        ({}, {}, "maps is empty"),
        ({"a": BAD}, {}, r"maps\['a'\] has values that are NaN"),
        ({"a": planted()}, {"names": ["x", "y"]}, "names has 2 entries for 1 images"),
        ({"a": planted()}, {"notes": {"b": ["x"]}}, r"notes\['b'\] is for none of the maps, which are 'a'"),
        ({"a": planted()}, {"notes": {"a": []}}, r"notes\['a'\] has 0 entries for 1 images"),
        ({"a": planted()}, {"shared_scale": True, "scale": 2.0}, "scale=2.0 is shared by all panels"),
    ],
)
def test_bad_tables(maps, options, message):
    with pytest.raises(ValueError, match=message):
        attributions(maps, IMAGE[None], **options)


def test_wrong_types():
    with pytest.raises(TypeError, match="values has dtype int64, but floats are needed"):
        attribution_map(np.ones((H, W, 3), int), IMAGE)
    with pytest.raises(TypeError, match="image must be an array, but got str"):
        attribution_map(planted(), "photo.jpg")
    with pytest.raises(ValueError, match=r"images has shape \(24, 40, 3\), .* Add the batch axis"):
        attributions({"a": planted()}, IMAGE)


def test_panels_are_wide_enough_for_names():
    names = attributions({"a": planted()}, IMAGE[None], original=False).size[0]
    assert names >= WIDTH > attributions({"a": planted()}, IMAGE[None], original=False, zoom=1).size[0]
