"""The report as a self-contained HTML file: no scripts, no fonts, no network."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from service.base.number_format import duration, number
from service.base.plain_text import clean
from service.report import formatting
from service.report.audit_text import AUDIT_COLUMNS, list_audit_rows, write_audit
from service.report.column_text import COLUMNS_NOTE, describe_columns, describe_stable
from service.report.component_groups import IDLE_MARK, describe_idle
from service.report.edge_text import EDGES_TITLE, SEARCH_ON, write_edge
from service.report.inspection_plots import MOST_COLUMNS, draw_columns_plot, draw_robustness_plot
from service.report.networks import NETWORKS_NOTE, list_network_rows, name_finalists
from service.report.plots import draw_curves_plot, draw_effects_plot, draw_gap_plot
from service.report.report_data import ReportData, list_arm_metrics
from service.report.robustness_text import describe_scores, list_robust_rows, list_scores
from service.report.verdict import describe_part
from service.study.importance import TOO_FEW_TRIALS
from service.sweep.inspection import Inspection
from trainables.config.anatomy import ANATOMY_ROWS
from trainables.config.robustness import CALIBRATION


def render(data: ReportData, robustness_png: Path | None = None) -> str:
    """The HTML page. Equal data give equal text.

    With ``robustness_png`` its plot of robustness, if it has one, is saved there, too.
    """
    return _load_template().render(
        data=data,
        too_few_trials=TOO_FEW_TRIALS,
        idle_mark=IDLE_MARK,
        edges_title=EDGES_TITLE,
        search_on=SEARCH_ON,
        audit_columns=AUDIT_COLUMNS,
        gap_plot=Markup(draw_gap_plot(data)),
        curves_plot=Markup(draw_curves_plot(data)),
        effects_plot=Markup(draw_effects_plot(data)),
        arm_metrics=list_arm_metrics(data.answer),
        describe_part=describe_part,
        **_show_inspection(data.inspection, robustness_png),
        networks=tuple(list_network_rows(data)),
        networks_note=NETWORKS_NOTE,
        finalists=name_finalists(data),
        anatomy_rows=ANATOMY_ROWS,
    )


def _show_inspection(found: Inspection, robustness_png: Path | None) -> dict[str, object]:
    columns = found.columns
    sentence = "" if columns is None else describe_columns(columns)
    plot = "" if columns is None or sentence else draw_columns_plot(columns)
    return {
        "robustness_plot": Markup(draw_robustness_plot(found.robustness, robustness_png)),
        "robust_rows": list(list_robust_rows(found.robustness)),
        "robust_scores": describe_scores(found.robustness),
        "has_calibration": CALIBRATION in list_scores(found.robustness),
        "columns_plot": Markup(plot),
        "columns_sentence": sentence,
        "columns_stable": "" if columns is None else describe_stable(columns),
        "columns_note": COLUMNS_NOTE,
        "columns_left_out": 0 if columns is None else columns.count - MOST_COLUMNS,
    }


def _clean_texts(value: object) -> object:
    """What an expression of the template inserts: texts of users without control characters."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _load_template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean_texts,
    )
    environment.filters |= {
        f.__name__: f
        for f in (
            number,
            describe_idle,
            write_edge,
            write_audit,
            list_audit_rows,
            formatting.format_mean,
            formatting.format_parts,
            formatting.write_trials,
            formatting.format_with_error,
            formatting.format_bounds,
            formatting.format_signed,
            formatting.format_value,
            formatting.format_share,
            duration,
            formatting.format_trial,
        )
    }
    source = files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)
