"""What an evaluation looks like: in a terminal, in files, and on a page."""

from apollo.evaluation.report.files import REPORTS, write_reports
from apollo.evaluation.report.grids import Grids
from apollo.evaluation.report.markdown import markdown_tables
from apollo.evaluation.report.names import short_names
from apollo.evaluation.report.terminal import tables

__all__ = ["REPORTS", "Grids", "markdown_tables", "short_names", "tables", "write_reports"]
