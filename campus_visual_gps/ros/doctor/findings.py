"""A finding of the doctor: level, subject, what was seen and what to do. Without ROS."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from campus_visual_gps.errors import printable


class Level(str, Enum):
    """How bad it is; the values are printed."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"

    def __str__(self) -> str:
        return str(self.value)


class Finding(NamedTuple):
    """One line. `remedy` says what to do; empty for what passes."""

    level: Level
    subject: str
    message: str
    remedy: str = ""

    def line(self) -> str:
        """The finding as it is printed."""
        text = f"{self.message}; {self.remedy}" if self.remedy else self.message
        return printable(f"{self.level}  {self.subject:<10} {text}")


def passed(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(Level.PASS, subject, message)


def warning(subject: str, message: str, remedy: str) -> Finding:
    """It may be meant so, or could not be checked."""
    return Finding(Level.WARN, subject, message, remedy)


def failure(subject: str, message: str, remedy: str) -> Finding:
    """It does not work like this."""
    return Finding(Level.FAIL, subject, message, remedy)


def overall(findings: list[Finding]) -> Level:
    """FAIL if anything failed, else PASS: a warning is no failure."""
    return Level.FAIL if any(finding.level is Level.FAIL for finding in findings) else Level.PASS


def counted(findings: list[Finding]) -> str:
    """The last line: FAIL: 2 failed, 1 warning, 9 passed."""
    count = {level: sum(finding.level is level for finding in findings) for level in Level}
    warnings = "1 warning" if count[Level.WARN] == 1 else f"{count[Level.WARN]} warnings"
    return f"{overall(findings)}: {count[Level.FAIL]} failed, {warnings}, {count[Level.PASS]} passed"
