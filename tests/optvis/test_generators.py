"""CPPNs and generators: networks that make the image."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlens.optvis import objectives, param, render
from tests.helpers import small_model
from tests.optvis.test_param import quick_jit

H, W = 19, 27  # never square
KEY = jax.random.key(2)


@pytest.mark.slow
def test_a_cppn_learns_xor():
    """Lucid's test: colours above 0.99 and below 0.01 at the corners of a 2 x 2 image."""
    p = param.cppn(2, num_output_channels=1, num_hidden_channels=24, num_layers=4)
    target = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 2, 2, 1)
    optimizer = optax.adam(0.01)

    def step(state, _):
        theta, memory = state
        loss = lambda t: -jnp.log(1e-6 + 1 - jnp.abs(p.to_image(t) - target)).sum()  # noqa: E731
        updates, memory = optimizer.update(jax.grad(loss)(theta), memory)
        return (optax.apply_updates(theta, updates), memory), None

    run = quick_jit(lambda theta: jax.lax.scan(step, (theta, optimizer.init(theta)), length=200)[0][0])
    assert any(float(jnp.abs(p.to_image(run(p.init(jax.random.key(i)))) - target).max()) < 0.01 for i in range(3))


@pytest.mark.slow
def test_cppn_is_lucids_network():
    p = param.cppn(5, 3)
    theta = p.init(KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == 8451
    np.testing.assert_allclose(p.to_image(theta), 0.5)
    theta = jax.tree.map(lambda leaf: leaf + 0.1, theta)
    x, y = np.meshgrid(np.linspace(-(3**0.5), 3**0.5, 5), np.linspace(-(3**0.5), 3**0.5, 3))
    net = np.stack([x, y], -1)
    *hidden, (kernel, bias) = [(np.float64(k[0]), np.float64(b[0])) for k, b in theta]
    for k, b in hidden:
        a = np.arctan(net @ k + b)
        net = np.concatenate([a / 0.67, a**2 / 0.6], -1)
    np.testing.assert_allclose(p.to_image(theta)[0], 1 / (1 + np.exp(-(net @ kernel + bias))), rtol=2e-4)
    # the same picture at another size, and images of their own
    np.testing.assert_allclose(param.cppn(9, 5).to_image(theta)[:, ::2, ::2], p.to_image(theta), atol=1e-4)
    two = param.cppn(5, 3, batch=2).init(KEY)
    assert not np.array_equal(two[0][0][0], two[0][0][1])


def decoder(params, z):
    return jnp.tanh(z @ params).reshape(len(z), 24, 28, 3)


def test_a_generator_in_a_render():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(16, 24 * 28 * 3)), jnp.float32)
    p = param.generator(decoder, weights, 16, batch=2)
    result = render.render(
        small_model(),
        objectives.channel("blocks.0.conv2", 1),
        param=p,
        steps=5,
        transforms=[],
        fixed_image_size=(24, 28),
        progress=False,
        redirect_steps=0,
    )
    assert result.scores[0, -1] > result.scores[0, 0] and result.theta.shape == (1, 2, 16)
    np.testing.assert_allclose(p.to_image(jnp.asarray(result.theta[0])), result.images[0], atol=1e-5)


def test_cppn_decodes_as_lucents():
    """The same weights: Lucent counts the output layer, and has the row as its first input."""
    torch = pytest.importorskip("torch")
    from lucent.optvis.param.cppn import cppn as lucents

    torch.manual_seed(0)
    parameters, image = lucents(9, num_layers=4, num_hidden_channels=6)
    weights = [w.detach() for w in parameters]
    weights[-2].normal_(0, 0.5)
    ours = param.cppn(9, num_layers=3, num_hidden_channels=6)
    layers = [
        (jnp.asarray(k[:, :, 0, 0].numpy().T)[None], jnp.asarray(b.numpy())[None])
        for k, b in zip(weights[::2], weights[1::2], strict=True)
    ]
    layers[0] = (layers[0][0][:, ::-1], layers[0][1])
    with torch.no_grad():
        want = image().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours.to_image(tuple(layers)), want, atol=2e-5)
    assert np.ptp(want) > 0.2


@pytest.mark.slow
def test_a_converted_upconvolution_gan():
    """Lucent's network of Dosovitskiy and Brox, with random weights, as a generator: values, and a
    render through it.
    """
    torch = pytest.importorskip("torch")
    from lucent.optvis.param.gan import upconvGAN

    from converters import from_torch

    torch.manual_seed(0)
    gan = upconvGAN("pool5", pretrained=False).eval()
    for module in gan.modules():  # narrower: the same layers, a hundredth of the work
        if hasattr(module, "in_channels"):
            wide = {n: max(3, n // 16) for n in (module.in_channels, module.out_channels)}
            kind = type(module)
            module.__init__(
                wide[module.in_channels],
                3 if module.out_channels == 3 else wide[module.out_channels],
                module.kernel_size,
                module.stride,
                module.padding,
            )
            assert type(module) is kind
    with torch.no_grad():
        gan.G[-1].weight.mul_(3000)
    latents = torch.randn(2, 16, 6, 6)
    model = from_torch(gan, example=latents)
    p = param.generator(model.forward, model.params, (6, 6, 16), batch=2, to_unit=param.deepsim_colors)
    with torch.no_grad():
        want = gan.visualize(latents).numpy().transpose(0, 2, 3, 1)
    assert np.std(want) > 0.05
    got = p.to_image(jnp.asarray(latents.numpy().transpose(0, 2, 3, 1).copy()))
    np.testing.assert_allclose(got, want, atol=1e-4)
    result = render.render(small_model(), "blocks.0.conv2:1", param=p, steps=3, transforms=[], progress=False, redirect_steps=0)
    assert result.images.shape == (1, 2, *want.shape[1:]) and result.scores[0, -1] > result.scores[0, 0]
