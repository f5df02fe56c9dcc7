"""A driver's connection to the service: it gets its job, reports, and says how the sweep ended."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from service.base.errors import InputError, RateLimitError, ServerError
from service.client import endpoints
from service.client.client import Client
from service.client.driver_reports import DriverJobOut, End, InstructionsOut, Report
from service.client.job_states import JobState
from service.server.store.job_records import DriverReport

M = TypeVar("M", bound=BaseModel)

_LONGEST_WAIT = 5.0


class DriverClient:
    """The calls of one attempt's driver, whose token says which sweep and attempt it is for."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def wait_for_job(self, patience: float) -> DriverJobOut:
        """Get the job from the service, which may be away for ``patience`` seconds.

        Raises:
            StaleDriverError: the attempt is over.
            UnauthorizedError: the service does not know the token.
            ServerError: the service does not answer.
        """
        retrying = Retrying(
            stop=stop_after_delay(patience),
            wait=wait_exponential(multiplier=0.2, max=_LONGEST_WAIT),
            retry=retry_if_exception_type((ServerError, RateLimitError)),
            reraise=True,
        )
        job: DriverJobOut = retrying(self._client.do, endpoints.driver_job())
        return job

    def record(self, report: DriverReport) -> InstructionsOut:
        """Report what is new of the sweep; it is recorded as a whole or not at all.

        Raises:
            InputError: a value is out of bounds.
            StaleDriverError: the attempt is over.
            GapsweepError: the service does not answer, or refuses the report.
        """
        return self._client.do(endpoints.driver_report(_check(Report, report)))

    def end(self, report: DriverReport, state: JobState, cause: str) -> None:
        """Report how the sweep ended.

        Raises:
            GapsweepError: as :meth:`record`.
            IllegalTransitionError: the sweep's state does not allow this end.
        """
        fields = {"report": report, "state": state, "cause": cause}
        self._client.do(endpoints.driver_end(_check(End, fields)))


def _check(model: type[M], content: object) -> M:
    """The message of some content.

    Raises:
        InputError: a value is out of bounds.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
