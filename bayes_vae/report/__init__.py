"""One self-contained HTML file on a run: what was trained, every term of Bayes' rule, and how far to trust each."""

from bayes_vae.report.contents import Missing, ReportContents, report_contents
from bayes_vae.report.page import report_page
from bayes_vae.report.writing import report_pair, write_report

__all__ = ["Missing", "ReportContents", "report_contents", "report_page", "report_pair", "write_report"]
