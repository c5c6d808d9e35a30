"""What a search reports: clean, found, not searched, left out, waived."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath


@dataclass(frozen=True)
class Finding:
    """Something that is to be gone and is still there, or that nobody can tell to be gone.

    Args:
        file: where.
        place: where in it, e.g. ``"row 17 and 2 more"`` or ``"edges"``.
        count: how many rows, edges, tokens or tensors.
        sure: False of what only a person can tell, such as pickled objects, or a plain number in a text without
            columns. It may be waived.
    """

    file: str
    place: str
    count: int
    sure: bool = True


@dataclass(frozen=True)
class Scan:
    """What a search looked at and what it found.

    Args:
        files: each file that was searched, and what was looked for in it.
        findings: in the order of the files.
        not_searched: each file of which something was not searched, and why.
        waived: the same of files that were waived by name.
        left_out: what was not even looked at, and why.
        unused: waivers that match nothing.
    """

    files: list = field(default_factory=list)
    findings: list = field(default_factory=list)
    not_searched: list = field(default_factory=list)
    waived: list = field(default_factory=list)
    left_out: list = field(default_factory=list)
    unused: list = field(default_factory=list)

    def is_clean(self) -> bool:
        """Whether everything was searched or waived, and nothing was found."""
        return not self.findings and not self.not_searched


def joined(scans: Iterable[Scan]) -> Scan:
    """Several scans as one."""
    whole = Scan()
    for each in scans:
        for name in vars(whole):
            getattr(whole, name).extend(getattr(each, name))
    return whole


def waived(result: Scan, patterns: Iterable[str]) -> Scan:
    """A scan of which some files are waived by name.

    What is found for sure is never waived.

    Args:
        result: of :func:`scan`.
        patterns: of names as a shell has them, e.g. ``"a.bin"``, ``"logs/*.gz"``, or a whole path.
    """
    used, kept, waivers = set(), Scan(files=result.files, left_out=result.left_out), list(patterns)

    def matching(file):
        return [pattern for pattern in waivers if PurePath(file).match(pattern)]

    for finding in result.findings:
        if finding.sure or not (patterns_of := matching(finding.file)):
            kept.findings.append(finding)
        else:
            used.update(patterns_of)
            kept.waived.append((finding.file, finding.place))
    for file, reason in result.not_searched:
        patterns_of = matching(file)
        used.update(patterns_of)
        (kept.waived if patterns_of else kept.not_searched).append((file, reason))
    kept.unused.extend(pattern for pattern in dict.fromkeys(waivers) if pattern not in used)
    return kept


def lines_of(result: Scan) -> list[str]:
    """A scan in words: each finding and each file that was not searched, and numbers of the rest. Names no token."""
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
            "--checkpoint alone finishes requests that have not failed, and removes versions whose quarantine is over; the rest is yours to "
            "delete, or to --waive by name where nobody can search it"
        )
    return lines
