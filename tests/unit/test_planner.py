"""From a search's trials to an answer, in worlds where the truth is known."""

from __future__ import annotations

import pytest

from service.answer.arms import Race
from service.answer.interim_looks import ALPHA
from service.report.verdict import write_verdict
from service.run.first_points import plan_search
from service.study.records import Role, TrialState
from service.sweep.answer import Answer, Claim, PartState
from service.sweep.sweep_record import Sweep, SweepState
from tests.simulated import Simulation, World, add_effects
from tests.specs import parse


def find_states(simulation: Simulation) -> dict[str, PartState]:
    answer = simulation.run()
    return {part.name: part.state for part in answer.parts}


def describe_answer(simulation: Simulation, answer: Answer) -> str:
    state = SweepState.SUCCEEDED
    sweep = Sweep.of(
        simulation.spec, sweep_id="a-1", state=state, seconds=1.0, trials=simulation.trials
    )
    return write_verdict(sweep, answer)


def test_where_nothing_acts_no_effect_is_shown_and_no_part_is_named() -> None:
    for seed in range(3):
        answer = Simulation(World(seed=seed)).run()
        assert answer.claim in (Claim.NOT_SHOWN, Claim.UNDECIDED)
        assert not answer.parts
        assert answer.interval is not None
        assert answer.interval[0] <= 0 <= answer.interval[1]


def test_a_part_that_acts_is_named_and_others_are_not() -> None:
    simulation = Simulation(World(add_effects(dropout=-0.05)))
    answer = simulation.run()
    assert answer.claim is Claim.HELPS
    assert answer.effect == pytest.approx(-0.05, abs=0.01)
    states = {part.name: part.state for part in answer.parts}
    assert states["dropout"] is PartState.ACTS
    assert states.get("penalty") in (None, PartState.IDLE, PartState.UNCLEAR)
    (dropout,) = (p for p in answer.parts if p.name == "dropout")
    assert dropout.effect == pytest.approx(-0.05, abs=0.01)


def test_the_effect_of_early_stopping_is_its_own() -> None:
    answer = Simulation(World(stopping=-0.1)).run()
    assert answer.claim is not Claim.HELPS
    assert answer.early_stopping is not None
    assert answer.early_stopping.effect == pytest.approx(-0.1, abs=0.01)
    assert answer.effect == pytest.approx(0, abs=0.01)
    means = {arm.name: arm.metrics["test/loss"].mean for arm in answer.arms}
    assert means["control"] == pytest.approx(means["baseline"] - 0.1, abs=0.01)


def test_the_control_is_validated_where_early_stopping_keeps_it() -> None:
    simulation = Simulation(World(stopping=-0.1))
    simulation.run()
    race = Race.read(simulation.spec, simulation.trials)
    assert race is not None
    for replicate, trial in race.replicates[race.control_arm].items():
        seen = race.view(race.control_arm, replicate)
        assert seen is not None
        assert seen.value == trial.control["val/loss"] != trial.value


def test_parts_that_replace_each_other_are_reported_as_such() -> None:
    def either(parts: frozenset[str], _: object) -> float:
        return -0.05 if parts else 0.0

    for seed in range(20):
        simulation = Simulation(World(either, seed=seed), confirm={"trainings": 100})
        answer = simulation.run()
        picked = next(t for t in simulation.trials if t.number == answer.pick)
        if picked.penalty == "l1":
            break
    assert answer.claim is Claim.HELPS
    assert not any(p.state is PartState.ACTS for p in answer.parts)
    assert {p.name for p in answer.parts if p.suffices} == {"penalty", "dropout"}


def test_early_stopping_is_a_part_that_is_removed_too() -> None:
    simulation = Simulation(World(add_effects(dropout=-0.05)))
    answer = simulation.run()
    assert "early_stopping" in {p.name for p in answer.parts}
    removals = [t for t in simulation.trials if t.role is Role.REMOVAL]
    assert {t.without for t in removals} >= {("early_stopping",), ("dropout",)}
    assert all(t.params["dropout"] == 0.0 for t in removals if "dropout" in t.without)


def test_a_part_that_never_acted_is_not_removed_and_the_answer_says_so() -> None:
    idle = frozenset({"early_stopping"})
    simulation = Simulation(World(add_effects(dropout=-0.05), idle=idle))
    answer = simulation.run()
    assert answer.claim is Claim.HELPS
    removals = [t for t in simulation.trials if t.role is Role.REMOVAL]
    assert removals
    assert all(t.without != ("early_stopping",) for t in removals)
    assert find_states(simulation)["early_stopping"] is PartState.NEVER_ACTED
    text = describe_answer(simulation, answer)
    assert "Early stopping did not act in any replicate of the pick." in text
    assert "For early stopping" not in text


def test_where_no_part_of_the_pick_acted_none_is_removed() -> None:
    idle = frozenset({"early_stopping", "dropout", "penalty"})
    simulation = Simulation(World(add_effects(dropout=-0.05), idle=idle))
    answer = simulation.run()
    assert not any(t.role is Role.REMOVAL for t in simulation.trials)
    assert {p.state for p in answer.parts} == {PartState.NEVER_ACTED}
    assert "No single part" not in describe_answer(simulation, answer)


def test_a_simple_pick_is_not_trained_without_what_never_acted() -> None:
    def list_removed(*idle: str) -> set[str]:
        world = World(add_effects(dropout=-0.05), idle=frozenset(idle))
        simulation = Simulation(world, confirm={"pick": "simplest", "trainings": 200})
        simulation.run()
        return {part for t in simulation.trials for part in t.without}

    assert "early_stopping" in list_removed()
    assert list_removed("early_stopping")
    assert "early_stopping" not in list_removed("early_stopping")


def test_the_pick_is_chosen_by_validation_samples_alone() -> None:
    simulation = Simulation(World(seed=3))
    first = simulation.run()
    costs = {
        arm.trial: arm.metrics["val/loss"].mean
        for arm in first.arms
        if arm.name.startswith(("pick", "trial"))
    }
    assert min(costs, key=costs.__getitem__) == first.pick


def test_every_replicate_is_one_seed_and_one_division_for_all_arms() -> None:
    simulation = Simulation(World())
    simulation.run()
    replicates = [t for t in simulation.trials if t.replicate]
    assert {t.seed for t in replicates if t.replicate == 2} == {simulation.spec.training.seed + 2}
    assert not any(t.confirms is None for t in replicates)


def test_looks_spend_a_share_each_and_are_stored() -> None:
    simulation = Simulation(World(row_sd=0.2, seed_sd=0.01))
    simulation.run()
    looks = simulation.study.attributes.looks
    assert [look["replicates"] for look in looks] == [5, 8, 12, 20][: len(looks)]
    assert len(looks) >= 2
    assert sum(look["alpha"] for look in looks) < ALPHA
    again = simulation.run()
    assert simulation.study.attributes.looks == looks
    assert again == simulation.run()


def test_a_session_after_a_crash_goes_on_where_the_last_one_was() -> None:
    whole = Simulation(World(add_effects(dropout=-0.05)))
    expected = whole.run()
    cut = Simulation(World(add_effects(dropout=-0.05)))
    for _ in range(100):
        trained = cut.count_replicates()
        cut.open_session()
        answer = cut.run(at_most=3)
        if trained == whole.count_replicates():
            break
    assert answer == expected
    assert cut.count_replicates() == whole.count_replicates()
    assert cut.study.attributes.looks == whole.study.attributes.looks


def test_an_extension_that_changes_the_finalists_has_only_what_is_unspent() -> None:
    simulation = Simulation(World(row_sd=0.2, seed_sd=0.01), trials=4)
    simulation.run()
    before = simulation.study.attributes.looks
    simulation.extend(40)
    simulation.run()
    looks = simulation.study.attributes.looks
    assert len(looks) > len(before)
    assert looks[-1]["family"] != before[0]["family"]
    assert looks[len(before)]["alpha"] < before[0]["alpha"]
    assert sum(look["alpha"] for look in looks) <= ALPHA


def test_trainings_end_it_and_the_answer_says_so() -> None:
    simulation = Simulation(World(row_sd=0.2, seed_sd=0.01), confirm={"trainings": 20})
    answer = simulation.run()
    assert simulation.count_replicates() == 20
    assert answer.claim is Claim.UNDECIDED
    assert answer.limit in ("trainings", "test_rows")
    assert answer.replicates == 5


def test_no_more_trainings_than_allowed_and_no_more_replicates() -> None:
    for effect in (0.0, -0.05):
        simulation = Simulation(
            World(add_effects(dropout=effect)), confirm={"trainings": 50, "replicates": 12}
        )
        simulation.run()
        assert simulation.count_replicates() <= 50
        assert max(t.replicate for t in simulation.trials) <= 12


def test_test_samples_can_be_the_limit() -> None:
    world = World(add_effects(dropout=-0.02), row_sd=0.3, rows=30, seed_sd=1e-4, val_sd=1e-4)
    answer = Simulation(world).run()
    assert answer.claim is Claim.UNDECIDED
    assert answer.limit == "test_rows"
    assert answer.replicates_needed is None


def test_replicates_that_fail_count_against_their_arm() -> None:
    world = World(add_effects(dropout=-0.05))
    assert Simulation(world).run().claim is Claim.HELPS
    world.fails = lambda a: a.replicate in (2, 4) and not a.baseline
    simulation = Simulation(world)
    answer = simulation.run()
    failed = [t for t in simulation.trials if t.state is TrialState.FAILED]
    assert failed
    assert answer.effect is not None
    assert answer.effect > -0.045
    pick = answer.find_arm("pick")
    assert pick is not None
    assert pick.failed == 2


def test_where_every_replicate_fails_the_answer_is_unconfirmed() -> None:
    answer = Simulation(World(fails=lambda a: a.replicate > 0)).run()
    assert answer.claim is Claim.UNCONFIRMED
    assert answer.reason == "every replicate of pick and control failed"
    assert answer.arms[0].failed == 5


def test_an_interrupted_confirmation_is_unconfirmed() -> None:
    answer = Simulation(World()).run(at_most=20)
    assert answer.claim is Claim.UNCONFIRMED
    assert answer.reason == "finalists and control have fewer than 5 replicates"


def test_the_simplest_pick_has_fewer_parts_and_keeps_those_that_act() -> None:
    counts = {"best": 0, "simplest": 0}
    for seed in range(4):
        for pick in counts:
            world = World(add_effects(dropout=-0.05), seed=seed)
            answer = Simulation(world, confirm={"trainings": 200, "pick": pick}).run()
            assert answer.claim is Claim.HELPS
            assert "dropout" not in answer.without
            counts[pick] += len(answer.parts)
    assert counts["simplest"] < counts["best"]


def test_the_sensitivity_check_comes_last_and_decides_nothing() -> None:
    world = World(add_effects(dropout=-0.05))
    plain = Simulation(world).run()
    simulation = Simulation(world, confirm={"sensitivity": 4, "trainings": 70})
    answer = simulation.run()
    redrawn = [t for t in simulation.trials if t.redraws_test]
    assert len(redrawn) == 8
    assert answer.sensitivity is not None
    assert (answer.claim, answer.effect) == (plain.claim, plain.effect)


def test_other_parameters_are_tuned_without_regularisers_for_the_control() -> None:
    def faster(parts: frozenset[str], params: object) -> float:
        assert isinstance(params, dict)
        return -0.1 * abs(float(params.get("lr", 1e-3)) - 1e-3)

    space = {
        "dropout": {"float": [0.1, 0.5]},
        "lr": {"float": [1e-3, 1.0]},
    }
    simulation = Simulation(World(faster), trials=24, space=space)
    answer = simulation.run()
    tuned = [t for t in simulation.trials if t.role is Role.CONTROL]
    assert len(tuned) == 6
    assert all(t.params["dropout"] == 0.0 for t in tuned)
    assert len({t.params["lr"] for t in tuned}) == 6
    own = [t for t in simulation.trials if t.without == ("regularisation",)]
    assert len({t.params["lr"] for t in own}) == 1
    assert all(t.params["dropout"] == 0.0 for t in own)
    assert answer.claim is not Claim.HELPS


def test_an_enqueued_point_is_never_dropped() -> None:
    space = {
        "penalty": {"choice": ["none", "l1"]},
        "lambda": {"float": [0.1, 1.0], "when": {"penalty": "l1"}},
    }
    simulation = Simulation(
        World(), space=space, search={"pruner": "none", "enqueue": [{"penalty": "none"}] * 2}
    )
    simulation.run()
    enqueued = [t for t in simulation.trials if t.role is Role.ENQUEUED]
    assert [t.params["penalty"] for t in enqueued] == ["none", "none"]


def test_a_grid_tunes_the_control_on_its_own_values() -> None:
    space = {"dropout": {"float": [0.1, 0.5]}, "lr": {"float": [1e-3, 0.1], "log": True}}
    spec = parse(space=space, search={"sampler": "grid", "grid_points": 3}, budget={"trials": 30})
    budget, points = plan_search(spec)
    assert budget == len(points) == 1 + 3 + 9
    tuned = [point for role, point in points if role is Role.CONTROL]
    assert [point["lr"] for point in tuned] == pytest.approx([1e-3, 1e-2, 0.1])
    assert all(point["dropout"] == 0.0 for point in tuned)


def test_the_controls_of_a_huge_grid_are_spread_over_it() -> None:
    tuned = {f"model.x{i}": {"float": [0.0, 1.0]} for i in range(30)}
    space = {"dropout": {"float": [0.1, 0.5]}, **tuned}
    spec = parse(space=space, search={"sampler": "grid", "grid_points": 100}, budget={"trials": 40})
    _, points = plan_search(spec)
    controls = [point for role, point in points if role is Role.CONTROL]
    assert len(controls) == 10
    assert controls[0]["model.x0"] == 0.0
    assert [point["model.x0"] for point in controls] == sorted(p["model.x0"] for p in controls)
    assert controls[-1]["model.x0"] > 0.8
