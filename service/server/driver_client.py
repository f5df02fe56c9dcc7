"""A driver's connection to the service: it gets its job, reports, and says how the sweep ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from service.base.errors import (
    GapsweepError,
    InputError,
    RateLimitError,
    RequestError,
    ServerError,
    TooLargeError,
)
from service.client import endpoints
from service.client.client import Client
from service.client.driver_reports import DriverJobOut, End, InstructionsOut, Report
from service.client.job_states import JobState
from service.server.store.job_records import DriverReport

T = TypeVar("T")

_LONGEST_WAIT = 5.0


class ReportRefusedError(Exception):
    """The service will never take this report: a value is out of bounds, or it is too large."""


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
            ReportRefusedError: the service does not take this report.
            StaleDriverError: the attempt is over.
            GapsweepError: the service does not answer, or takes no report for now.
        """
        return _refuse(
            lambda: self._client.do(endpoints.driver_report(Report.model_validate(report)))
        )

    def end(self, report: DriverReport, state: JobState, cause: str) -> None:
        """Report how the sweep ended.

        Raises:
            GapsweepError: as :meth:`record`.
            IllegalTransitionError: the sweep's state does not allow this end.
        """
        fields = {"report": report, "state": state, "cause": cause}
        _refuse(lambda: self._client.do(endpoints.driver_end(End.model_validate(fields))))


def _refuse(send: Callable[[], T]) -> T:
    """Send something; tell a refusal for what it is from one for the time being."""
    try:
        return send()
    except ValidationError as error:
        raise ReportRefusedError(str(error.errors()[0]["msg"])) from None
    except GapsweepError as error:
        if type(error) in (InputError, RequestError, TooLargeError):
            raise ReportRefusedError(" ".join(str(error).split())) from None
        raise
