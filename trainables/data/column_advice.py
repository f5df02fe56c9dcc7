"""What a person can do about a column, which depends on where the table comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedies:
    """Ends of messages about columns; ``{name}`` is the column's name."""

    leave_out: str
    as_category: str
    missing: str
    stray: str
    commas: str

    def say_leave_out(self, name: object) -> str:
        """How to leave a column out."""
        return self.leave_out.format(name=name)

    def say_category(self, name: object) -> str:
        """How to say that a column is one of categories."""
        return self.as_category.format(name=name)


_FILE = {
    "leave_out": "leave it out with `exclude: [{name}]`",
    "as_category": "name it in `categories: [{name}]`",
}
OF_CSV = Remedies(
    **_FILE,
    missing=(
        "fill them, or set `missing: impute` or `missing: drop`; where a text such as NA is a "
        "value, list the texts that are none in `missing_values`"
    ),
    stray="correct them, or name them in `missing_values` and set `missing` to impute or drop",
    commas="set `decimal` or `thousands` to the mark, such as ',', or remove it",
)
OF_PARQUET = Remedies(
    **_FILE,
    missing="fill them, or set `missing: impute` or `missing: drop`",
    stray="correct them, or make them null and set `missing` to impute or drop",
    commas="make the column one of numbers",
)
OF_FUNCTION = Remedies(
    leave_out="leave it out of the table",
    as_category="make it categories with `.astype('category')`",
    missing="fill or drop them first",
    stray="correct or drop them first",
    commas="make the column one of numbers",
)
OF_ARRAYS = Remedies(
    leave_out="leave it out",
    as_category="encode it",
    missing="fill them, or set `missing: impute` or `missing: drop`",
    stray="correct them",
    commas="make it numbers",
)
