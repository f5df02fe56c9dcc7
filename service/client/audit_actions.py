"""What the audit log has entries of."""

from __future__ import annotations

from enum import StrEnum


class AuditAction(StrEnum):
    """What somebody did; the part before the dot is what it was done to."""

    SWEEP_SUBMIT = "sweep.submit"
    SWEEP_CANCEL = "sweep.cancel"
    SWEEP_PAUSE = "sweep.pause"
    SWEEP_RESUME = "sweep.resume"
    SWEEP_RETRY = "sweep.retry"
    SWEEP_EXTEND = "sweep.extend"
    SWEEP_DELETE = "sweep.delete"
    BUNDLE_UPLOAD = "bundle.upload"
    BUNDLE_DELETE = "bundle.delete"
    MODEL_DOWNLOAD = "model.download"
    REPORT_DOWNLOAD = "report.download"
    USER_ADD = "user.add"
    USER_CHANGE = "user.change"
    USER_REVOKE = "user.revoke"
    TOKEN_ADD = "token.add"
    TOKEN_REVOKE = "token.revoke"
    TOKEN_USE = "token.use"
    MLFLOW_USE = "mlflow.use"
    REQUEST_UNAUTHORIZED = "request.unauthorized"
    REQUEST_FORBIDDEN = "request.forbidden"
