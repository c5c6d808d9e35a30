"""The line of a run on a pseudo-terminal: what is logged stands above it, whole, and nothing of it stays."""

import fcntl
import logging
import os
import pty
import re
import signal
import struct
import sys
import termios
import traceback
import warnings

import pytest
from running_service import forking

from recbole_unlearn.display import Display, counted, note, show
from recbole_unlearn.quick_start import run_unlearn

COLUMNS, ROWS = 100, 40
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def without_pytest():
    """In a child: standard streams and the log as a program has them that starts anew."""
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    for handler in list(logging.root.handlers):
        logging.root.removeHandler(handler)
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)  # pytest keeps them


def log_to_the_terminal():
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)


def on_terminal(function):
    """All that a function writes to a terminal, from a child of this process that has it as its own."""
    child, terminal = pty.fork()
    if child == 0:
        code = 1
        try:
            without_pytest()
            fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            function()
            code = 0
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    written = b""
    try:
        while part := os.read(terminal, 4096):
            written += part
    except OSError:  # Linux says so that the other end is closed
        pass
    os.close(terminal)
    os.waitpid(child, 0)
    return COLOURS.sub("", written.decode())


def screen(written):
    """The lines that one sees in the end: a carriage return begins the line again, and what follows writes over it."""
    lines = []
    for line in written.split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


def steps(wanted=True, after=lambda: None):
    """A run of three steps, which logs, warns and counts."""
    with Display(["data", "original", "GIF"], {"data": 0.0}, wanted) as display:
        display.begin("data")
        logging.info(f"Training ({display.begin('original')})")
        for epoch in range(1, 4):
            show("epoch", epoch, 3)
            logging.info(f"epoch {epoch} of the log")
            note(f"ndcg@5 0.{epoch}")
        display.known["GIF"] = 300.0
        logging.info(f"Unlearning ({display.begin('GIF')})")
        assert list(counted("abc", "shard", 3)) == ["a", "b", "c"]
        warnings.warn("a warning", stacklevel=2)
        logging.info("a table\n of two lines")
        after()


LOGGED = [
    "Training (step 2 of 3)",
    "epoch 1 of the log",
    "epoch 2 of the log",
    "epoch 3 of the log",
    "Unlearning (step 3 of 3, about 5 min left)",
]


def run_steps(**options):
    log_to_the_terminal()
    steps(**options)
    print("the end")


def test_the_line_says_how_far_a_run_is_and_leaves_the_log_whole():
    written = on_terminal(run_steps)
    for text in (
        "step 1 of 3, data",
        "step 2 of 3, original: epoch 3 of 3, ndcg@5 0.2",
        "step 3 of 3, GIF: shard 2 of 3, about 5 min left",
    ):
        assert text in written
    lines = screen(written)
    assert lines == [*LOGGED, "a warning", "a table", " of two lines", "the end", ""]


def interrupted():
    log_to_the_terminal()
    steps(after=lambda: os.kill(os.getpid(), signal.SIGINT))


def failing():
    log_to_the_terminal()
    steps(after=lambda: 1 / 0)


@pytest.mark.parametrize("what, said", [(interrupted, "interrupted"), (failing, "Traceback (most recent call last):")])
def test_nothing_of_the_line_stays_after_an_interruption_or_an_error(what, said):
    lines = screen(on_terminal(what))
    assert lines[lines.index(" of two lines") + 1] == said
    assert not any("shard" in line for line in lines)


def test_a_display_that_is_not_wanted_is_silent():
    assert "\r|" not in on_terminal(lambda: run_steps(wanted=False))


def into_file(path):
    with open(path, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    without_pytest()
    run_steps()


def test_a_file_gets_the_lines_of_the_log_alone(tmp_path):
    child = forking.Process(target=into_file, args=(tmp_path / "log",))
    child.start()
    child.join()
    written = (tmp_path / "log").read_text()
    assert child.exitcode == 0 and "\r" not in written
    assert [line for line in written.splitlines() if "epoch" in line or "step" in line] == LOGGED


def test_what_counts_needs_no_display():
    show("epoch", 1, 2)
    note("ndcg@5 0.1")
    assert list(counted("ab", "shard", 2)) == ["a", "b"]


def counting_in_a_child():
    log_to_the_terminal()
    with Display(["GIF"], {}) as display:
        display.begin("GIF")
        child = forking.Process(target=lambda: show("shard", 2, 3))
        child.start()
        child.join()
        print("child", child.exitcode)


def test_a_process_that_a_run_starts_draws_nothing():
    written = on_terminal(counting_in_a_child)
    assert "child 0" in written and "shard" not in written


def test_a_run_shows_one_line_and_leaves_its_tables_intact(settings):
    settings |= {"show_progress": True, "unlearn_workers": 1, "unlearn_methods": ["Retrain", "SISA", "DropEdges"]}
    written = on_terminal(lambda: print(run_unlearn("LightGCN", "tiny", config_dict=settings)))
    for text in (
        "step 2 of 5, original: epoch 2 of 4",
        "step 3 of 5, Retrain: epoch 4 of 4, ndcg@5 0.",
        "step 4 of 5, SISA: shard 3 of 3",
    ):
        assert text in written
    lines = screen(written)
    for row in ("original", "Retrain", "Retrain again", "SISA", "DropEdges"):  # once in the log, once in the result
        assert sum(bool(re.match(rf" *{row} +0\.\d{{4}} ", line)) for line in lines) == 2, (row, written)
    assert not any("| step" in line or "it/s" in line for line in lines)
