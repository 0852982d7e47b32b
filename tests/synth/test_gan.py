"""Generators in a fleet, and the game that they play."""

import numpy as np
import pytest
import torch

from fedlab_utils import fleet, synth
from fedlab_utils.fleet import generator
from fedlab_utils.synth import encoding, gan
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
    noise = gan.draw_noise(layout, 400, [np.random.default_rng(0)])
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
