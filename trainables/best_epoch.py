"""Which weights of a training are kept, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainables.config.stopping import StoppingConfig, StoppingRule, Verdict
from trainables.errors import ContractError, blame
from trainables.run import EpochResult, Kept


@dataclass
class Keeping:
    """The kept epoch of a training, and that of its control.

    With ``runs_to_end`` the rule stops nothing: the last epoch is kept, and the one that the rule
    would have kept is the control's. Without a rule the last epoch is kept.
    """

    config: StoppingConfig | None
    max_epochs: int
    runs_to_end: bool

    def __post_init__(self) -> None:
        self._limit = self.max_epochs
        self.forget()

    def end_after(self, epochs: int) -> None:
        """End after so many epochs, if that is sooner."""
        self._limit = self.ends_at = min(epochs, self.max_epochs)

    def forget(self) -> None:
        """Begin anew."""
        self.rule: StoppingRule | None = None
        if self.config is not None:
            with blame("early_stopping"):
                self.rule = self.config.settle(self.max_epochs).build()
        self.last: EpochResult | None = None
        self.best: Kept | None = None
        self.control: Kept | None = None
        self.control_ended = False
        self.ends_at = self._limit

    def conclude(
        self,
        epoch: int,
        metrics: Mapping[str, float],
        network: nn.Module | None,
        count_more: Callable[[], int],
        agree: Callable[[Verdict], Verdict] = lambda verdict: verdict,
    ) -> EpochResult:
        """The result of an epoch, after which its weights are kept if they are the best.

        ``network`` is what was evaluated; ``count_more`` says how many epochs follow where the
        rule would end the training. With ``agree`` the processes of a group agree on one verdict.

        Raises:
            ContractError: the metric that the rule reads was not measured.
        """
        verdict = agree(Verdict.WAIT if self.control_ended else self._judge(epoch, metrics))
        if verdict is Verdict.STOP and not self.runs_to_end:
            self.ends_at = min(self.ends_at, epoch + count_more())
        result = EpochResult(epoch, metrics, epoch >= self.ends_at)
        self.last = result
        if self.runs_to_end or verdict is Verdict.IMPROVED or self.best is None:
            self.best = _copy(result, network)
        if self.runs_to_end:
            self.control_ended = self.control_ended or verdict is Verdict.STOP
            if verdict is Verdict.IMPROVED or self.control is None:
                self.control = _copy(result, network)
        return result

    def end(self) -> EpochResult:
        """The last result once more, as that of a training which has ended by itself."""
        assert self.last is not None
        self.last = EpochResult(self.last.epoch, self.last.metrics, True)
        return self.last

    def _judge(self, epoch: int, metrics: Mapping[str, float]) -> Verdict:
        if self.rule is None or self.config is None:
            return Verdict.IMPROVED
        watched = self.config.metric
        if watched not in metrics:
            raise ContractError(
                f"early stopping monitors {watched!r}; logged: {', '.join(metrics)}"
            )
        return self.rule.update(epoch, metrics[watched], metrics.get("gap/loss"))

    def state_dict(self) -> dict[str, Any]:
        """The state, in types that ``weights_only`` loads."""
        return {
            "watch": self.rule.state_dict() if self.rule else None,
            "last": _to_plain(self.last),
            "best": _to_plain(self.best.result if self.best else None),
            "best_state": self.best.state if self.best else {},
            "control": _to_plain(self.control.result if self.control else None),
            "control_state": self.control.state if self.control else {},
            "control_ended": self.control_ended,
            "ends_at": self.ends_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        if self.rule and state["watch"] is not None:
            self.rule.load_state_dict(state["watch"])
        self.last = EpochResult(**state["last"]) if state["last"] else None
        self.best = _load(state["best"], state["best_state"])
        self.control = _load(state.get("control"), state.get("control_state", {}))
        self.control_ended = bool(state.get("control_ended"))
        self.ends_at = int(state.get("ends_at", self.ends_at))


def _copy(result: EpochResult, network: nn.Module | None) -> Kept:
    state = {} if network is None else network.state_dict()
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    return Kept(result, {k: v.detach().cpu().clone() for k, v in tensors.items()})


def _load(result: Mapping[str, Any] | None, state: Mapping[str, Tensor]) -> Kept | None:
    return Kept(EpochResult(**result), dict(state)) if result else None


def _to_plain(result: EpochResult | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {"epoch": result.epoch, "metrics": dict(result.metrics), "done": result.done}
