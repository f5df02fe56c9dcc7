"""The penalties' closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Selection, Training
from trainables.errors import ContractError
from trainables.regularisers import penalty_steps as penalties
from trainables.regularisers.base import Hooks, Now, Subject
from trainables.regularisers.weights import Penalised, find_last_layer, select_penalised


def weight(*rows: list[float], bias: list[float] | None = None, factor: float = 1.0) -> Penalised:
    return Penalised(
        "w",
        nn.Parameter(torch.tensor(rows)),
        None if bias is None else nn.Parameter(torch.tensor(bias)),
        factor,
    )


def scalar(value: float) -> Tensor:
    return torch.tensor(value)


def test_soft_threshold_is_the_minimiser_of_its_own_problem() -> None:
    point, threshold = torch.tensor([-2.0, -0.3, 0.0, 0.3, 2.0]), scalar(0.5)
    got = penalties.soft_threshold_(point.clone(), threshold)
    assert got.tolist() == [-1.5, 0.0, 0.0, 0.0, 1.5]
    candidates = torch.linspace(-3, 3, 60001)
    cost = 0.5 * (candidates[:, None] - point) ** 2 + threshold * candidates[:, None].abs()
    assert torch.allclose(candidates[cost.argmin(0)], got, atol=2e-4)


def test_an_elastic_net_step_is_the_minimiser_of_its_own_problem() -> None:
    start, steps = torch.tensor([[1.0, -0.1, 0.7, -2.0]]), torch.tensor([[0.5, 0.5, 0.1, 2.0]])
    l1, l2 = scalar(0.2), scalar(0.3)
    w = Penalised("w", start.clone())
    penalties.apply_proximal_step(w, steps, l1, l2)
    candidates = torch.linspace(-3, 3, 60001)[:, None]
    cost = (candidates - start).square() / (2 * steps) + l1 * candidates.abs()
    best = candidates[(cost + l2 * candidates.square()).argmin(0)]
    assert torch.allclose(w.weight, best.T, atol=2e-4)
    assert w.weight[0, 1] == 0


@pytest.mark.parametrize(
    ("penalty", "training", "expected"),
    [
        ("none", {}, [1.0, -0.1]),
        ("l1", {}, [0.9, 0.0]),
        ("l2", {}, [0.8, -0.08]),
        ("elastic_net", {}, [(1.0 - 0.075) / 1.05, -(0.1 - 0.075) / 1.05]),
        ("elastic_net", {"l2_update": "decoupled"}, [1.0 * 0.95 - 0.075, -0.095 + 0.075]),
        ("elastic_net", {"l1_update": "subgradient"}, [1 - 0.125, -0.1 + 0.08]),
        ("group_lasso", {}, [1.0 - 0.1 * 2**0.5 / 1.01**0.5, -0.1 + 0.01 * 2**0.5 / 1.01**0.5]),
        ("l1", {"l1_update": "subgradient"}, [0.9, 0.0]),
        ("l2", {"l2_update": "coupled"}, [0.8, -0.08]),
    ],
)
def test_what_one_step_of_a_penalty_does(
    penalty: str, training: dict[str, str], expected: list[float]
) -> None:
    """At a learning rate of 0.5 and λ = 0.2, without a gradient of the loss."""
    point = {"penalty": penalty, "lambda": 0.2, "l1_ratio": 0.75}
    assert step_once(point, [1.0, -0.1], **training) == pytest.approx(expected, abs=1e-6)


def step_once(point: dict[str, object], values: list[float], **training: object) -> list[float]:
    """The weights after one step of plain gradient descent, all hooks called."""
    w = weight(values)
    w.weight.grad = torch.zeros_like(w.weight)
    optimizer = torch.optim.SGD([w.weight], lr=0.5)
    hooks = Hooks([config.build() for config in read_regularisers(point)])
    info = DataInfo((2,), Task.REGRESSION, 1, Kind.TABLE)
    hooks.attach(Subject(info, nn.Module(), [w], optimizer, Training.model_validate(training)))
    now = Now(lr=scalar(0.5), lambda_factor=1.0, noise=torch.Generator())
    for hook in (*hooks.before_epoch, *hooks.before_step):
        hook(now)
    optimizer.step()
    for hook in hooks.after_step:
        hook(now)
    return [float(v) for v in w.weight.detach()[0]]


def trained(optimizer: type[torch.optim.Optimizer], coupled: bool) -> Tensor:
    w, l2 = weight([1.0, 1.0], [1.0, 1.0]), scalar(0.1)
    optimiser = optimizer(
        [w.weight], lr=0.05, **({} if optimizer is torch.optim.SGD else {"weight_decay": 0.0})
    )
    for _ in range(5):
        optimiser.zero_grad()
        (w.weight**3).sum().backward()
        if coupled:
            penalties.add_coupled_gradient([w], l2)
        else:
            penalties.apply_decoupled_decay(w, scalar(0.05), l2)
        optimiser.step()
    return w.weight.detach()


def test_coupled_and_decoupled_are_the_same_under_plain_sgd_alone() -> None:
    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    assert torch.allclose(trained(sgd, True), trained(sgd, False), atol=1e-6)
    assert not torch.allclose(trained(adamw, True), trained(adamw, False), atol=1e-3)


def test_value_and_its_gradients_agree_with_the_updates() -> None:
    w, l1, l2 = weight([0.5, -2.0], factor=0.5), scalar(0.3), scalar(0.7)
    value = l1 * w.weight.abs().sum() + l2 * w.weight.square().sum()
    (w.factor * value).backward()
    expected, w.weight.grad = w.weight.grad, torch.zeros_like(w.weight)
    assert expected is not None
    penalties.add_subgradient([w], l1)
    penalties.add_coupled_gradient([w], l2)
    assert torch.allclose(w.weight.grad, expected)


def test_a_group_step_zeroes_whole_units_and_shortens_the_others() -> None:
    w = weight([3.0, 0.0], [0.1, 0.1], bias=[4.0, 0.1])
    penalties.apply_group_step(w, scalar(0.5), scalar(0.5), scalar(2.0))
    shorter = 1 - 0.5 * 2.0 * 3**0.5 / 5
    assert w.weight.tolist()[0] == pytest.approx([3 * shorter, 0.0])
    assert w.weight.tolist()[1] == [0.0, 0.0]
    assert w.bias is not None
    assert w.bias.tolist() == pytest.approx([4 * shorter, 0.0])


def test_a_group_step_is_the_minimiser_of_its_own_problem() -> None:
    start = torch.tensor([[1.0, -0.5, 2.0]])
    w = Penalised("w", start.clone())
    penalties.apply_group_step(w, scalar(1.0), scalar(1.0), scalar(0.4))

    def cost(u: Tensor) -> Tensor:
        return 0.5 * (u - start).square().sum() + 0.4 * 3**0.5 * u.norm()

    torch.manual_seed(0)
    others = [w.weight + 0.01 * torch.randn_like(start) for _ in range(200)]
    assert all(cost(w.weight) <= cost(o) for o in others)


def test_a_group_step_with_steps_of_each_entry_is_the_minimiser_of_its_own_problem() -> None:
    """Steps over six decades: the gradient of the objective is 0 at every unit that is not 0."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    steps = 10 ** (6 * torch.rand(200, 5, generator=generator, dtype=torch.float64) - 3)
    strengths = 10 ** (4 * torch.rand(200, 1, generator=generator, dtype=torch.float64) - 2)
    got = penalties.shrink_units(start, steps, strengths)
    zero = (start / steps).norm(dim=1) <= strengths[:, 0]
    assert 0 < zero.sum() < 200
    assert torch.equal((got == 0).all(1), zero)
    kept = (got - start) / steps + strengths * got / got.norm(dim=1, keepdim=True)
    relative = kept[~zero].abs() / (strengths[~zero] + (start / steps)[~zero].abs())
    assert float(relative.max()) < 1e-6


@pytest.mark.parametrize("strength", [0.0, 1e-38, 1e-20, 1e-6])
def test_a_group_step_of_next_to_no_strength_changes_next_to_nothing(strength: float) -> None:
    """λ may be 0 in an epoch, by its schedule."""
    start = torch.tensor([[1.0, -0.5], [1e-3, 2.0], [0.0, 0.0]])
    steps = torch.tensor([[1.0, 1e-6], [1e4, 1.0], [1.0, 1.0]])
    got = penalties.shrink_units(start, steps, scalar(strength))
    assert torch.allclose(got, start, rtol=1e-5, atol=1e-5)
    assert torch.equal(got, start) or strength


def test_max_norm_projects_long_units_and_leaves_short_ones() -> None:
    w = weight([3.0, 4.0], [0.3, 0.4], bias=[9.0, 9.0])
    penalties.apply_max_norm([w], scalar(1.0))
    assert w.weight.tolist() == [pytest.approx([0.6, 0.8]), pytest.approx([0.3, 0.4])]
    assert w.bias is not None
    assert w.bias.tolist() == [9.0, 9.0]


def test_biases_and_norms_are_not_penalised_and_zeros_are_counted() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    chosen = select_penalised(model, Selection())
    assert [w.name for w in chosen] == ["0.weight"]
    with torch.no_grad():
        chosen[0].weight.copy_(torch.tensor([[0.0, 3.0], [0.0, 4.0]]))
    assert penalties.measure_sparsity(chosen) == 0.5
    assert penalties.measure_weight_norm(chosen) == pytest.approx(5.0)


def test_patterns_include_exclude_and_scale() -> None:
    model = nn.ModuleDict({"fc1": nn.Linear(2, 2), "fc2": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    selection = Selection(include=("fc1.bias",), exclude=("head",), scale={"fc*": 0.1, "fc2": 0.5})
    chosen = {w.name: w.factor for w in select_penalised(model, selection)}
    assert chosen == {"fc1.weight": 0.1, "fc1.bias": 0.1, "fc2.weight": 0.5}
    with pytest.raises(ContractError, match=r"no parameter matches 'fc9\*'"):
        select_penalised(model, Selection(exclude=("fc9*",)))


def test_a_factor_of_a_tenth_is_a_tenth_of_the_strength() -> None:
    tenth, whole = weight([1.0, -1.0], factor=0.1), weight([1.0, -1.0])
    penalties.apply_proximal_step(tenth, scalar(1.0), scalar(0.5), scalar(0.0))
    penalties.apply_proximal_step(whole, scalar(1.0), scalar(0.05), scalar(0.0))
    assert torch.equal(tenth.weight, whole.weight)


def test_the_units_of_the_last_layer_are_outputs_and_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    assert find_last_layer(model, torch.ones(1, 2)) == "2"
    first, last = select_penalised(model, Selection(), "2")
    assert (first.unit_axis, last.unit_axis) == (0, None)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    hooks = Hooks([c.build() for c in read_regularisers({"penalty": "group_lasso", "lambda": 9})])
    info, before = DataInfo((2,), Task.REGRESSION, 2, Kind.TABLE), last.weight.clone()
    hooks.attach(Subject(info, model, [first, last], optimizer, Training()))
    now = Now(lr=scalar(1.0), lambda_factor=1.0, noise=torch.Generator())
    for hook in (*hooks.before_epoch, *hooks.after_step):
        hook(now)
    assert not first.weight.any()
    assert torch.equal(last.weight, before)


def test_tied_weights_are_penalised_once() -> None:
    one = nn.Linear(2, 2, bias=False)
    other = nn.Linear(2, 2, bias=False)
    other.weight = one.weight
    assert len(select_penalised(nn.Sequential(one, other), Selection())) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_l2_under_an_optimiser_is_the_weight_decay_that_its_name_says(
    ours: str, theirs: type[torch.optim.Optimizer]
) -> None:
    """``weight_decay`` is 2λ; torch's AdamW decays beside the step, its Adam in the gradient."""
    lam, lr = 0.05, 0.1
    training = Training.model_validate({"optimizer": ours, "lr": lr, "momentum": 0.0})
    w, reference = weight([1.0, -0.5]), torch.nn.Parameter(torch.tensor([[1.0, -0.5]]))
    optimizer = training.optimizer.build([w.weight], lr=lr, momentum=training.momentum)  # type: ignore[list-item]  # the weight of the helper is a parameter
    expected = theirs([reference], lr=lr, weight_decay=2 * lam)
    hooks = Hooks([c.build() for c in read_regularisers({"penalty": "l2", "lambda": lam})])
    info = DataInfo((2,), Task.REGRESSION, 1, Kind.TABLE)
    hooks.attach(Subject(info, nn.Module(), [w], optimizer, training))
    now = Now(lr=scalar(lr), lambda_factor=1.0, noise=torch.Generator())
    for hook in hooks.before_epoch:
        hook(now)
    for _ in range(5):
        for parameter, stepping in ((w.weight, optimizer), (reference, expected)):
            stepping.zero_grad()
            (parameter**3).sum().backward()
            for hook in hooks.before_step if parameter is w.weight else ():
                hook(now)
            stepping.step()
    assert torch.allclose(w.weight, reference, atol=1e-6)
