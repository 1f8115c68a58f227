"""Imported networks that make images: from a vector, from a vector and a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import converters
from converters import _compare

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.converters.test_from_torch import built, wrong  # noqa: E402


class DCGAN(nn.Module):
    """Upconvolutions from a vector."""

    def __init__(self):
        super().__init__()
        layers = [nn.ConvTranspose2d(16, 8, (3, 4), 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True)]
        layers += [nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.main(z.view(z.shape[0], -1, 1, 1))


class Conditional(nn.Module):
    """A class embedding, a linear layer to a map, and upsampling with convolutions."""

    def __init__(self):
        super().__init__()
        self.embed, self.linear = nn.Embedding(7, 5), nn.Linear(11, 8 * 2 * 3)
        self.up, self.conv, self.norm = nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, z, label):
        x = self.linear(torch.cat([z, self.embed(label)], 1)).view(-1, 8, 2, 3)
        return torch.sigmoid(self.conv(torch.relu(self.norm(self.up(self.up(x))))))


@pytest.mark.slow
def test_generators():
    module, z = built(DCGAN), torch.randn(2, 16)
    model = converters.from_torch(module, example=z)
    assert model.layers["main"].shape == (12, 16, 3) and model.channels == 16
    assert wrong(module, model, np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)) == []
    weight = torch.randn(2, 3, 12, 16)
    (z.requires_grad_(), (module(z) * weight).sum().backward())
    scored = lambda z: (model.forward(model.params, z) * weight.numpy().transpose(0, 2, 3, 1)).sum()  # noqa: E731
    assert _compare.error(np.asarray(jax.grad(scored)(z.detach().numpy())), z.grad.numpy()) < 1e-4

    module, labels = built(Conditional), torch.tensor([2, 6])
    with pytest.warns(UserWarning, match="closes over the others"):
        model = converters.from_torch(module, example=(torch.randn(2, 6), labels))
    assert wrong(module, model, np.asarray(torch.randn(3, 6)), np.array([0, 3, 5])) == []
    with pytest.raises(TypeError, match="takes 2 inputs, but got 1"):
        model.forward(model.params, jnp.zeros((1, 6)))
