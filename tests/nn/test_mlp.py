"""Members side by side are members one by one."""

import pytest
import torch

from skvae.nn import MemberMLP


def filled(sizes, n_members=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    network = MemberMLP(n_members, sizes, g)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=g)
    return network


def separate(network, member):
    """The same member as an ordinary sequence of layers."""
    layers = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        layer = torch.nn.Linear(*weight.shape[1:])
        layer.weight.data, layer.bias.data = weight[member].mT.detach(), bias[member, 0].detach()
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("sizes", [(4, 2), (4, 7, 2), (4, 7, 5, 2)])
def test_members_are_separate_networks(sizes):
    network = filled(sizes)
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    result = network(x)
    assert result.shape == (3, 6, 2)
    for member in range(3):
        torch.testing.assert_close(result[member], separate(network, member)(x[member]))


def test_gradients_stay_with_their_member():
    network = filled((4, 7, 2))
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    network(x)[1].sum().backward()
    for parameter in network.parameters():
        assert (parameter.grad[[0, 2]] == 0).all()
        assert (parameter.grad[1] != 0).any()


@pytest.mark.parametrize("sizes", [(4, 2), (4, 7, 2), (4, 7, 5, 2)])
def test_networks_start_as_zero_but_can_learn(sizes):
    network = MemberMLP(2, sizes, torch.Generator().manual_seed(0))
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    result = network(x)
    assert (result == 0).all()
    result.sum().backward()
    assert (network.weights[-1].grad != 0).any()


def test_hidden_layers_keep_the_size_of_their_input():
    network = MemberMLP(2, (400, 300, 1), torch.Generator().manual_seed(0))
    x = torch.randn(2, 50, 400, generator=torch.Generator().manual_seed(1))
    # He et al. (2015): mean squares pass a rectified layer unchanged.
    hidden = torch.relu(x @ network.weights[0])
    assert hidden.square().mean().item() == pytest.approx(1.0, rel=0.05)


def test_initial_weights_come_from_the_generator_and_differ_between_members():
    state = torch.get_rng_state()
    first, second, third = (
        MemberMLP(2, (4, 7, 2), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.weights[0], second.weights[0])
    assert not torch.equal(first.weights[0], third.weights[0])
    assert not torch.equal(first.weights[0][0], first.weights[0][1])
