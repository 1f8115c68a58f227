"""Tables of pictures: every picture is in its row and column, pixel for pixel, beside its name."""

import numpy as np
import pytest

from jaxlens.data import to_uint8
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult
from jaxlens.plot import comparison, contact_sheet, evolution_strip, interaction_grid
from tests.plot.test_sheet import find

H, W = 20, 26
RNG = np.random.default_rng(0)


def pictures(*shape):
    return RNG.uniform(size=(*shape, 3)).astype(np.float32)


def result(names=("a", "b"), batch=1, steps=()):
    n = len(names)
    return RenderResult(
        images=pictures(n, batch, H, W),
        scores=np.zeros((n, 1), np.float32),
        names=tuple(names),
        snapshots={step: pictures(n, batch, H, W) for step in steps},
        failed_at=np.full(n, -1),
        finished=True,
        seconds=0.0,
    )


def places(sheet, images):
    """Top left corners of pictures, each of which must be there once."""
    found = [find(np.asarray(sheet), to_uint8(image)) for image in images]
    assert all(len(place) == 1 for place in found)
    return np.concatenate(found)


def assert_table(sheet, rows):
    """Pictures `[R, N, ...]` are at the crossings of R lines and N columns, in order. Returns
    these.
    """
    corners = np.stack([places(sheet, row) for row in rows])
    tops, lefts = corners[:, 0, 0], corners[0, :, 1]
    assert (corners[..., 0] == tops[:, None]).all() and (corners[..., 1] == lefts).all()
    assert (np.diff(tops) > 0).all() and (np.diff(lefts) > 0).all()
    return tops, lefts


def inked(region):
    return bool((region < 128).all(-1).any())


def test_evolution_is_in_order():
    rendered = result(batch=2, steps=(32, 1, 512, 128))
    sheet = evolution_strip(rendered, task=1, image=1)
    images = [rendered.snapshots[step][1, 1] for step in (1, 32, 128, 512)]
    assert_table(sheet, [images])
    want = contact_sheet(np.stack(images), ["step 1", "step 32", "step 128", "step 512"], columns=4)
    np.testing.assert_array_equal(np.asarray(sheet), np.asarray(want))
    assert evolution_strip(rendered, title="mixed4a:3").size[1] > sheet.size[1]


def test_evolution_of_what_is_not_there():
    with pytest.raises(ValueError, match=r"result has no snapshots: render with thresholds=\(1, 32, 128, 512\)"):
        evolution_strip(result())
    with pytest.raises(ValueError, match=r"task=2 must be an integer in 0\.\.1"):
        evolution_strip(result(steps=(1,)), 2)
    with pytest.raises(ValueError, match=r"image=1 must be an integer in 0\.\.0"):
        evolution_strip(result(steps=(1,)), 0, 1)


def test_comparison_of_arrays():
    rows = {"pixels": pictures(3, H, W), "Fourier": pictures(3, H, W)}
    sheet = comparison(rows, ["dog", "cat", "snail"])
    tops, lefts = assert_table(sheet, list(rows.values()))
    array = np.asarray(sheet)
    assert all(inked(array[top : top + H, : lefts[0]]) for top in tops)
    assert all(inked(array[: tops[0], left : left + W]) for left in lefts)
    assert not inked(array[tops[0] + H : tops[1]])  # names of columns stand above the first row only


def test_names_may_be_left_out_or_replaced():
    rows = {"a": pictures(2, H, W), "b": pictures(2, H, W)}
    bare = comparison(list(rows.values()))
    tops, lefts = assert_table(bare, list(rows.values()))
    assert tops[0] == lefts[0] == 8 and not inked(np.asarray(bare)[:, : lefts[0]])
    named = comparison(list(rows.values()), row_names=["a", "b"])
    np.testing.assert_array_equal(np.asarray(named), np.asarray(comparison(rows)))
    assert comparison(rows, row_names=["a", "a much longer name"]).size[0] > named.size[0]
    titled = comparison(rows, title="a title that is wider than all of the pictures together")
    assert titled.size[0] > named.size[0] and titled.size[1] > named.size[1]
    assert (np.asarray(titled)[:, -4:] == 255).all()


def test_comparison_of_renders_with_a_photograph():
    first, second, photos = result(("dog", "cat"), batch=2), result(("x", "y"), batch=2), pictures(2, H + 9, W)
    rows = {"photograph": photos, "first": first, "second": second}
    sheet = comparison(rows)
    corners = [places(sheet, photos), places(sheet, first.images[:, 0]), places(sheet, second.images[:, 0])]
    assert all((row[:, 1] == corners[0][:, 1]).all() and row[0, 0] == row[1, 0] for row in corners)
    beside = places(sheet, first.images[:, 1])
    np.testing.assert_array_equal(beside - corners[1], [[0, W], [0, W]])
    # columns have the first render's names
    np.testing.assert_array_equal(np.asarray(sheet), np.asarray(comparison(rows, ["dog", "cat"])))
    assert not np.array_equal(np.asarray(sheet), np.asarray(comparison(rows, ["x", "y"])))


def test_comparison_shows_alpha_on_white():
    plain = pictures(1, H, W)
    clear = np.concatenate([plain, np.zeros((1, H, W, 1), np.float32)], -1)
    sheet = comparison([clear, plain])
    ((top, left),) = places(sheet, plain)
    assert top > H
    assert (np.asarray(sheet)[:top, left : left + W] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "rows is empty"),
        (({"a": pictures(2, H, W), "b": pictures(3, H, W)},), r"rows\['b'\] has 3 pictures, but rows\['a'\] has 2"),
        (([pictures(2, H, W), pictures(1, H, W)],), r"rows\[1\] has 1 pictures, but rows\[0\] has 2"),
        (({"a": pictures(H, W)},), r"rows\['a'\] has shape \(20, 26, 3\), but \[N, H, W, C\]"),
        (({"a": pictures(2, H, W)}, ["x"]), "names has 1 entries for 2 columns"),
        (({"a": pictures(2, H, W)}, None, ["x", "y"]), "row_names has 2 entries for 1 rows"),
    ],
)
def test_bad_comparisons(arguments, message):
    with pytest.raises(ValueError, match=message):
        comparison(*arguments)


def test_interactions():
    rendered = result([f"task {i}" for i in range(6)])
    sheet = interaction_grid(rendered, ["x", "y"], ["p", "q", "r"])
    assert_table(sheet, rendered.images[:, 0].reshape(2, 3, H, W, 3))
    rows = {"x": rendered.images[:3], "y": rendered.images[3:]}
    np.testing.assert_array_equal(np.asarray(sheet), np.asarray(comparison(rows, ["p", "q", "r"])))
    assert not np.array_equal(np.asarray(sheet), np.asarray(interaction_grid(rendered, ["x", "y", "z"], ["p", "q"])))


def test_interactions_know_their_names():
    group = objectives.channel("one", [0, 4])
    others = [objectives.channel("two", 3) + objectives.channel("three", 1), "two:7", "two:8"]
    names = [each.describe() for each in objectives.combine(group, others)]
    rendered = result(names)
    sheet = interaction_grid(rendered, 2, 3)
    want = interaction_grid(rendered, ["one:0", "one:4"], ["two:3 + three:1", "two:7", "two:8"])
    np.testing.assert_array_equal(np.asarray(sheet), np.asarray(want))
    half = interaction_grid(rendered, 2, ["p", "q", "r"])
    np.testing.assert_array_equal(np.asarray(half), np.asarray(interaction_grid(rendered, ["one:0", "one:4"], ["p", "q", "r"])))


def test_bad_interactions():
    rendered = result([f"task {i}" for i in range(6)])
    with pytest.raises(ValueError, match="result has 6 tasks, but 2 rows times 4 columns make 8"):
        interaction_grid(rendered, 2, 4)
    with pytest.raises(ValueError, match=r"not 'row \+ column', such as 'task 0': give the 2 rows and 3 columns as lists"):
        interaction_grid(rendered, 2, 3)
    with pytest.raises(TypeError, match="rows='ab' must be a list of names or their number"):
        interaction_grid(rendered, "ab", 3)
    with pytest.raises(ValueError, match="columns=0 must be an integer >= 1"):
        interaction_grid(rendered, 2, 0)
