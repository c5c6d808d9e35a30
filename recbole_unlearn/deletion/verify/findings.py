"""The results of a search: clean, found, not searched, left out, waived."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath


@dataclass(frozen=True)
class Finding:
    """Something that should be gone and is still there, or that may be there.

    Args:
        file: its path.
        place: the place in the file, e.g. ``"row 17 and 2 more"`` or ``"edges"``.
        count: number of rows, edges, tokens or tensors.
        sure: False if only a person can decide, as for pickled objects, or a plain number in a text without columns.
            Such a finding may be waived.
    """

    file: str
    place: str
    count: int
    sure: bool = True


@dataclass(frozen=True)
class Scan:
    """What a search looked at and what it found.

    Args:
        files: each searched file, and what was looked for in it.
        findings: in the order of the files.
        not_searched: each file that was not searched in full, and why.
        waived: each file that was waived by name, and why it needed that.
        left_out: each file or folder that was skipped, and why.
        unused: waivers that match nothing.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    not_searched: list[tuple[str, str]] = field(default_factory=list)
    waived: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def is_clean(self) -> bool:
        """Whether everything was searched or waived, and nothing was found."""
        return not self.findings and not self.not_searched


def joined(scans: Iterable[Scan]) -> Scan:
    """Several scans joined to one."""
    whole = Scan()
    for each in scans:
        for name in vars(whole):
            getattr(whole, name).extend(getattr(each, name))
    return whole


def waived(result: Scan, patterns: Iterable[str]) -> Scan:
    """Waive files of a scan by name. A sure finding is never waived.

    Args:
        result: of :func:`scan`.
        patterns: of names, with a shell's wildcards, e.g. ``"a.bin"``, ``"logs/*.gz"``, or a whole path.
    """
    kept, waivers = Scan(files=result.files, left_out=result.left_out), list(dict.fromkeys(patterns))
    used: set[str] = set()

    def is_waived(file, reason):
        matching = [pattern for pattern in waivers if PurePath(file).match(pattern)]
        used.update(matching)
        kept.waived.extend([(file, reason)] if matching else [])
        return bool(matching)

    kept.findings.extend(each for each in result.findings if each.sure or not is_waived(each.file, each.place))
    kept.not_searched.extend(each for each in result.not_searched if not is_waived(*each))
    kept.unused.extend(pattern for pattern in waivers if pattern not in used)
    return kept


def lines_of(result: Scan) -> list[str]:
    """A scan in words: each finding and each file that was not searched, and counts of the rest. Names no token."""
    lines = [f"found: {each.file}: {each.place}{'' if each.sure else ' (may be waived)'}" for each in result.findings]
    lines += [f"not searched: {file}: {reason}" for file, reason in result.not_searched]
    lines += [f"waived: {file}: {reason}" for file, reason in result.waived]
    lines += [f"left out: {file}: {reason}" for file, reason in result.left_out]
    lines += [f"waiver '{pattern}' matches nothing that needs one" for pattern in result.unused]
    unsearched = {file for file, _ in result.not_searched}
    unclean = unsearched | {each.file for each in result.findings} | {file for file, _ in result.waived}
    clean = {file for file, _ in result.files} - unclean
    lines.append(
        f"{len(clean)} files searched and clean, {len(result.findings)} places where something forgotten is or may be "
        f"left, {len(unsearched)} files not searched, {len(result.waived)} waived"
    )
    if not result.is_clean():
        lines.append(
            "--checkpoint alone finishes requests that have not failed, and removes versions whose quarantine is "
            "over; the rest is yours to delete, or to --waive by name where nobody can search it"
        )
    return lines
