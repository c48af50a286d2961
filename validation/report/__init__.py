"""The report: one HTML page with everything that a run measured."""

from validation.report.report import write_report

__all__ = ["write_report"]
