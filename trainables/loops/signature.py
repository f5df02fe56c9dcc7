"""Tells a user's training loop from a function that returns a network, by its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from trainables.errors import ContractError

if TYPE_CHECKING:
    from trainables.loops.trial import Trial

TRIAL = "trial"
_ANNOTATIONS = ("Trial", "gapsweep.Trial", "trainables.loops.trial.Trial")
_OF_OTHERS = frozenset({"config", "params", "hparams", "args", "report", "checkpoint_dir"})
HOW = (
    "a training loop of yours is a function of one argument named `trial`: `def train(trial): …`, "
    "which reads trial.params and yields or reports the metrics of each epoch"
)


def finish_nothing(_trial: Trial, _made: object) -> bool:
    """What a loop returned is nothing to train."""
    return False


@dataclass(frozen=True)
class OwnLoop:
    """A user's training loop, and the arguments that the spec gives it.

    ``finish`` trains what the loop returned, and says whether it did.
    """

    path: str
    function: Callable[..., Any]
    argument: str
    finish: Callable[[Trial, object], bool] = finish_nothing

    def select_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those that the function takes; the loop finds all of them in ``trial.params``."""
        parameters = inspect.signature(self.function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return dict(arguments)
        return {n: v for n, v in arguments.items() if n in parameters and n != self.argument}

    def list_arguments(self) -> tuple[str, ...]:
        """The names of the function's arguments beside the trial."""
        return tuple(n for n in inspect.signature(self.function).parameters if n != self.argument)

    def call(self, trial: Trial, arguments: Mapping[str, Any]) -> object:
        """Run the whole loop; a generator's values are reported. Returns what it returned."""
        made = self.function(**{self.argument: trial, **arguments})
        if not isinstance(made, GeneratorType):
            return None if self.finish(trial, made) else made
        try:
            for metrics in made:
                trial.report(metrics)
        finally:
            _close(made, self.path)
        return None


def explain_going_on(path: str) -> str:
    """What is wrong with a loop that does not end where its trial does."""
    return (
        f"{path} went on after its end: trial.report raises gapsweep.TrialEnd where a trial ends, "
        "and `yield` raises GeneratorExit; the loop must not catch them, as `except BaseException` "
        "and a bare `except` do"
    )


def _close(generator: GeneratorType[Any, Any, Any], path: str) -> None:
    try:
        generator.close()
    except RuntimeError as error:
        if "GeneratorExit" not in str(error):
            raise
        raise ContractError(explain_going_on(path), "trainable") from None


def find_function_loop(
    path: str,
    found: object,
    arguments: Mapping[str, Any],
    finish: Callable[[Trial, object], bool] = finish_nothing,
) -> OwnLoop | None:
    """The training loop that a function is; None if ``found`` at ``path`` is something else.

    A loop is a function with a parameter named ``trial`` or annotated as ``gapsweep.Trial``, or any
    generator function of one required argument. ``finish`` trains what it returns, if it can.

    Raises:
        ContractError: it lacks an argument, or it is a loop as other tools have it.
    """
    if isinstance(found, type) or not callable(found):
        return None
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return None
    argument = _find_argument(found, parameters, arguments)
    if argument is None:
        _refuse_others(path, parameters, arguments)
        return None
    needed = [n for n in _list_needed(parameters, arguments) if n != argument]
    if needed:
        raise ContractError(
            f"{path} needs {', '.join(needed)}; give {'it' if len(needed) == 1 else 'them'} under "
            "`model`, or a default",
            "trainable",
        )
    return OwnLoop(path, found, argument, finish)


def _find_argument(
    found: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    arguments: Mapping[str, Any],
) -> str | None:
    """The name of the argument that takes the trial."""
    for name, parameter in parameters.items():
        if name == TRIAL or _names_trial(parameter.annotation):
            return name
    needed = _list_needed(parameters, arguments)
    is_generator = inspect.isgeneratorfunction(inspect.unwrap(found))
    return needed[0] if is_generator and len(needed) == 1 else None


def _names_trial(annotation: object) -> bool:
    if isinstance(annotation, str):
        return annotation.strip("'\"").rpartition(".")[2] == "Trial"
    home, name = getattr(annotation, "__module__", ""), getattr(annotation, "__qualname__", "")
    return f"{home}.{name}" in _ANNOTATIONS


def _list_needed(
    parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]
) -> list[str]:
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in various and name not in arguments
    ]


def _refuse_others(
    path: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]
) -> None:
    """Refuse a loop as Ray Tune and others call it, which would be taken for a network's factory.

    Raises:
        ContractError: it is one.
    """
    needed = _list_needed(parameters, arguments)
    foreign = [name for name in needed if name in _OF_OTHERS]
    if foreign:
        raise ContractError(f"{path} needs {', '.join(needed)}; {HOW}", "trainable")
