"""The section of report.md about the photos that the gates reject."""

from __future__ import annotations

from training.evaluate.report_metrics import ReportMetrics
from training.report.formatting import percent_with_interval
from training.report.markdown_blocks import error_table, section
from training.report.table_rows import TableRow


def rejection_section(metrics: ReportMetrics) -> str:
    """What the gates rejected, and the effect on the error."""
    title = "Accepted and rejected"
    share = f"{percent_with_interval(metrics.accepted_share)} of the photos were accepted."
    if not metrics.rejected.errors.n_photos:
        return section(title, share + " No gate rejected any.")
    rows = [TableRow("accepted", metrics.accepted.errors), TableRow("rejected", metrics.rejected.errors)]
    rows += [TableRow(f"rejected: {name}", errors) for name, errors in metrics.by_rejection_reason.items()]
    return section(title, share, error_table(rows), _gain(metrics))


def rejection_counts(metrics: ReportMetrics) -> str:
    """How many photos were rejected, by reason."""
    reasons = [f"{name} {errors.n_photos}" for name, errors in metrics.by_rejection_reason.items()]
    return f"Rejected: {metrics.rejected.errors.n_photos}" + (f" ({', '.join(reasons)})." if reasons else ".")


def _gain(metrics: ReportMetrics) -> str:
    accepted, everything = metrics.accepted.errors.mean_error_m.value, metrics.all.errors.mean_error_m.value
    if accepted is None or not everything:
        return ""
    return f"The mean error of the accepted photos is {accepted / everything:.2f} of that of all photos."
