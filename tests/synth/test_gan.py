"""Generators in a fleet, and the game that they play."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from fedlab_utils import fleet, synth
from fedlab_utils.fleet import generator
from fedlab_utils.synth import encoding, gan
from fedlab_utils.synth.players import Players
from tests.synth.helpers import QUICK, patients


def arrays_of(made, model):
    return [a[model] for name, a in made.arrays.items() if name.startswith("layer")]


@pytest.mark.parametrize("method", ["gan", "wgan_gp"])
def test_generators_in_a_fleet_equal_generators_alone(method):
    frame = patients(100)
    encoder = encoding.learn(frame)
    table = torch.from_numpy(encoder.encode(frame))
    layout = gan.Layout(encoder.width, tuple(encoder.choices))
    options = {"steps": 10, "hidden": (16, 16), "critic_steps": 2, "pack": 2, "batch_size": 16, "lr": 1e-3}
    options |= {"critic_lr": 1e-3, "penalty": 10.0, "average": 0.9, "method": method}
    rows = [np.arange(100), np.arange(50), np.arange(30, 90)]

    def last(models):
        rngs = [generator(0, k, 2) for k in models]
        *_, (params, _, _) = gan.train(table, [rows[k] for k in models], layout, rngs, **options)
        return params

    together = last([0, 1, 2])
    for k in range(3):
        alone = last([k])
        for all_models, one in zip(together.tensors(), alone.tensors(), strict=True):
            torch.testing.assert_close(all_models[k], one[0], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(together.weights[0][0], together.weights[0][1])


def test_rare_labels_are_practised_as_often_as_others_within_reason():
    def shares(*counts):
        labels = torch.eye(len(counts))[torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))]
        chances = np.diff(gan.balanced(labels), prepend=0)
        return np.bincount(labels.argmax(1), chances).tolist()

    assert shares(900, 100) == pytest.approx([0.5, 0.5])
    assert shares(50, 30, 20) == pytest.approx([1 / 3] * 3)
    assert shares(999, 1)[1] == pytest.approx(10 / 510)  # one patient is not half of what is learnt
    np.testing.assert_allclose(gan.balanced(torch.zeros(4, 0)), [0.25, 0.5, 0.75, 1])


def test_models_differ_and_are_those_of_one_fit():
    frame = patients(100)
    options = {"steps": 5, "hidden": (8,), "batch_size": 16}
    several, one = synth.fit(frame, n_models=3, **options), synth.fit(frame, **options)
    for all_models, alone in zip(arrays_of(several, 0), arrays_of(one, 0), strict=True):
        np.testing.assert_allclose(all_models, alone, atol=1e-5)
    assert not several.sample(30, model=0).equals(several.sample(30, model=1))
    with pytest.raises(ValueError, match="model must be a number from 0 to 2; got 3"):
        several.sample(5, model=3)


def test_the_slope_formula_is_what_autograd_finds_twice():
    critic = fleet.init(2, (5, 7, 6, 1), seed=0)
    for tensor in critic.tensors():
        tensor.requires_grad_()
    X = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (expected,) = torch.autograd.grad(gan.forward(critic, X).sum(), X, create_graph=True)
    found = gan.slope(critic, X.detach())
    torch.testing.assert_close(found, expected)
    weights = critic.weights
    by_formula = torch.autograd.grad(found.square().sum(), weights)
    for ours, theirs in zip(by_formula, torch.autograd.grad(expected.square().sum(), weights), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_critic_sees_hard_categories_and_the_generator_a_gradient():
    layout = gan.Layout(5, ((1, 3, True), (3, 5, False)))
    maker = fleet.init(1, (gan.NOISE, 8, 5), seed=0)
    for tensor in maker.tensors():
        tensor.requires_grad_()
    noise = gan.draw_noise(layout.width, 400, [np.random.default_rng(0)])
    rows = gan.generate(maker, layout, torch.zeros(1, 400, 0), *noise)[0]
    assert set(rows[:, 1:].detach().round(decimals=5).unique().tolist()) == {0.0, 1.0}
    assert (rows[rows[:, 2] > 0.5][:, 0] == 0).all() and (rows[rows[:, 1] > 0.5][:, 0] != 0).all()
    rows[:, 4].sum().backward()
    assert maker.weights[0].grad.abs().sum() > 0


def test_training_can_be_watched_and_stopped():
    seen = []

    def watch(so_far):
        seen.append((len(so_far.losses), so_far.sample(5)))
        return len(seen) == 3

    made = synth.fit(patients(60), on_step=watch, every=4, **QUICK)
    assert [steps for steps, _ in seen] == [4, 8, 12]
    assert made.history["step"].max() == 12 and made.history.notna().all(axis=None)
    assert not seen[0][1].equals(seen[2][1])


@pytest.mark.parametrize("method", ["gan", "wgan_gp"])
@pytest.mark.parametrize("hidden", [(7, 6), ()])
def test_slopes_by_hand_are_those_of_autograd(method, hidden):
    layout, g = gan.Layout(5, ((1, 3, True), (3, 5, False)), (3, 5)), torch.Generator().manual_seed(0)
    wasserstein, penalty, pack = method == "wgan_gp", 0.7, 2
    critics, makers = (
        Players(fleet.init(2, sizes, seed=k), 0.01)
        for k, sizes in enumerate([(5 * pack, *hidden, 1), (gan.NOISE + 2, *hidden, 5)])
    )
    real, made = (torch.randn(2, 8, 10, generator=g) for _ in range(2))
    mix = torch.rand(2, 8, 1, generator=g) if wasserstein else None
    label = torch.eye(2)[torch.randint(2, (2, 16), generator=g)]
    chance = gan.draw_noise(layout.width, 16, [generator(0, k, 2) for k in range(2)])

    def by_autograd(players, loss):
        leaves = [tensor.clone().requires_grad_() for tensor in players.params.tensors()]
        losses = loss(fleet.Params(leaves[::2], leaves[1::2]))
        return losses, torch.autograd.grad(losses.sum(), leaves, allow_unused=True)

    def critic_loss(params):
        on_real, on_made = (gan.forward(params, some).squeeze(2) for some in (real, made))
        if not wasserstein:
            return (softplus(-on_real) + softplus(on_made)).mean(1)
        steepness = gan.slope(params, real + mix * (made - real)).norm(dim=2)
        return (on_made - on_real).mean(1) + penalty * (steepness - 1).square().mean(1)

    def maker_loss(params):
        rows = gan.generate(params, layout, label, *chance)
        on_made = gan.forward(critics.params, rows.reshape(2, 8, 10)).squeeze(2)
        return (-on_made if wasserstein else softplus(-on_made)).mean(1)

    # the generators' batch stands behind those that the critics see
    twice = [torch.cat([torch.randn_like(tensor), tensor], 1) for tensor in (label, *chance)]
    in_training = gan._make(makers.params, layout, *twice).part(slice(16, 32))
    torch.testing.assert_close(in_training.rows, gan.generate(makers.params, layout, label, *chance))
    by_hand = {
        "critic": lambda: gan._critic_slopes(critics, real, made, mix, penalty),
        "maker": lambda: gan._maker_slopes(makers, critics, layout, in_training, pack, wasserstein),
    }
    for (name, work_out), players, loss in zip(
        by_hand.items(), (critics, makers), (critic_loss, maker_loss), strict=True
    ):
        losses, expected = by_autograd(players, loss)
        torch.testing.assert_close(work_out(), losses.detach(), msg=name)
        for found, slope in zip(players.slopes.tensors(), expected, strict=True):
            torch.testing.assert_close(found, torch.zeros_like(found) if slope is None else slope, msg=name)


def test_of_equally_large_choices_the_first_is_taken():
    noisy = torch.tensor([[1.0, 2.0, 2.0], [3.0, 3.0, 1.0], [0.0, 0.0, 0.0]])  # a line for each row to be made
    assert gan._choose(noisy, 0.5).tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]
    with_slope = noisy.requires_grad_()
    torch.testing.assert_close(gan._choose(with_slope, 0.5), gan._choose(noisy.detach(), 0.5), rtol=0, atol=0)


def test_players_take_the_steps_that_adam_takes_tensor_by_tensor():
    params = fleet.init(2, (3, 4, 1), seed=0)
    players, alone = Players(params, 0.01), [tensor.clone().requires_grad_() for tensor in params.tensors()]
    adam = torch.optim.Adam(alone, lr=0.01, betas=(0.5, 0.9))
    for step in range(3):
        for k, (slope, tensor) in enumerate(zip(players.slopes.tensors(), alone, strict=True)):
            tensor.grad = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(10 * step + k))
            slope.copy_(tensor.grad)
        players.step()
        adam.step()
    for found, tensor in zip(players.params.tensors(), alone, strict=True):
        torch.testing.assert_close(found, tensor.detach())
    assert not torch.equal(players.params.weights[0], params.weights[0])


def test_a_training_loads_no_algebra():
    """Sympy comes with PyTorch, and takes half a second that no step needs."""
    code = "import sys, numpy as np, pandas as pd; from fedlab_utils import synth; "
    code += "frame = pd.DataFrame({'a': np.arange(30.0), 'b': list('xyz') * 10}); "
    code += "synth.fit(frame, method='gan', steps=2, hidden=(4,)); sys.exit('sympy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
