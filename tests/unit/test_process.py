"""Child processes and who a process is: streamed, interrupted once, and dead only if proven."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import Permanent, Refused
from core.record import Owner
from systems.process_table import carrying, ignores_interrupts, start_ticks
from systems.processes import ATTEMPT_VARIABLE, interrupt_children, owner_of, process_is_dead, run_streamed, same_host
from systems.terraform_lock import end_orphans
from tests.waiting import wait_for

ME = owner_of("release", "run-1", "run-1-1")
PATIENT = """
import signal, sys, time
def end(*_):
    print("saved", flush=True)
    sys.exit(3)
signal.signal(signal.SIGINT, end)
print("ready", flush=True)
time.sleep(30)
"""


def run(code: str, on_line: Callable[[str], None], timeout: float = 10, **more: Any) -> int:
    return run_streamed(
        [sys.executable, "-u", "-c", code], on_line=on_line, environment=os.environ, timeout=timeout, **more
    )


# --- who is dead


def other(**facts: Any) -> Owner:
    return ME.model_copy(update=facts)


def gone() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("rule", "owner", "dead", "here"),
    [
        ("this very process", ME, False, True),
        ("its pid was given to another", other(process_started="1"), True, True),
        ("no such process", other(pid=gone()), True, True),
        ("another machine, boot or container", other(host="elsewhere", pid=gone()), False, False),
        ("another machine, the pid taken here", other(host="elsewhere", process_started="1"), False, False),
    ],
)
def test_a_process_is_dead_only_if_that_is_proven(rule: str, owner: Owner, dead: bool, here: bool) -> None:
    assert process_is_dead(owner) is dead, rule
    assert same_host(owner) is here, rule


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    whose = other(pid=child.pid, process_started=started)
    assert not process_is_dead(whose)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_is_dead(whose)
    child.wait()


def test_a_clock_that_is_set_meanwhile_makes_no_living_process_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil tells a start by the wall clock, whose distance from the boot changes when the clock is set."""
    booted = psutil.boot_time()
    seen = iter([booted - 3600, booted, booted, booted])
    monkeypatch.setattr(psutil, "boot_time", lambda: next(seen))
    assert start_ticks(os.getpid()) == int(ME.process_started)


# --- who carries what


def test_a_process_is_found_by_all_that_it_carries() -> None:
    marks = {"POINTSMAN_TEST": f"it's {os.getpid()}", "POINTSMAN_EMPTY": ""}
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, **marks})
    try:
        wait_for(lambda: [process.pid for process in carrying(marks)] == [child.pid], 10, "it is not found")
        assert carrying({**marks, "POINTSMAN_EMPTY": "1"}) == []
        assert carrying({"POINTSMAN_TEST": "it's"}) == []
    finally:
        child.communicate()


@pytest.mark.parametrize(("what", "ignored"), [("SIG_IGN", True), ("SIG_DFL", False)])
def test_an_ignored_interrupt_is_seen(what: str, ignored: bool) -> None:
    program = f"import signal; signal.signal(signal.SIGINT, signal.{what}); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert ignores_interrupts(child.pid) is ignored
    finally:
        child.communicate()
    assert not ignores_interrupts(child.pid)


# --- streams


def test_lines_come_as_they_are_written_and_the_exit_code_at_the_end() -> None:
    seen: list[tuple[str, float]] = []
    code = "import time; print('one'); time.sleep(0.3); print('two'); raise SystemExit(4)"
    assert run(code, lambda line: seen.append((line, time.monotonic()))) == 4
    assert [line for line, _ in seen] == ["one", "two"]
    assert seen[1][1] - seen[0][1] > 0.2


def test_standard_error_goes_where_it_is_wanted() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    lines: list[str] = []
    errors: list[str] = []
    run(code, lines.append, on_error_line=errors.append)
    assert (lines, errors) == (["out"], ["err"])
    run(code, lines.append)
    assert sorted(lines) == ["err", "out", "out"]


def test_much_output_on_both_streams_blocks_nothing() -> None:
    lines: list[str] = []
    code = "import sys\nfor i in range(5000): print('x' * 50); print('y' * 50, file=sys.stderr)"
    assert run(code, lines.append) == 0
    assert len(lines) == 10_000


def test_output_that_is_no_utf8_is_still_output() -> None:
    lines: list[str] = []
    assert run("import sys; sys.stdout.buffer.write(b'\\xff ok\\n')", lines.append) == 0
    assert lines[0].endswith(" ok")


def test_a_child_reads_no_input() -> None:
    lines: list[str] = []
    run("import sys; print(repr(sys.stdin.read()))", lines.append)
    assert lines == ["''"]


def test_a_command_that_is_not_there_is_told_by_its_name() -> None:
    with pytest.raises(Permanent, match="The command 'no-such-command' was not found"):
        run_streamed(["no-such-command"], on_line=print, environment=os.environ, timeout=1)


# --- interrupted


def test_a_child_that_takes_too_long_is_interrupted_once_and_ends_in_order() -> None:
    lines: list[str] = []
    began = time.monotonic()
    with pytest.raises(Permanent, match=r"took longer than 0\.5 s"):
        run(PATIENT, lines.append, timeout=0.5)
    assert lines == ["ready", "saved"]
    assert time.monotonic() - began < 5


def test_a_child_is_interrupted_and_waited_for_when_we_are(tmp_path: Path) -> None:
    """As a flow run that is cancelled: an exception comes up in the thread that reads."""
    mark = tmp_path / "saved"

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    code = PATIENT.replace('print("saved", flush=True)', f"open({str(mark)!r}, 'w').close()")
    with pytest.raises(KeyboardInterrupt):
        run(code, interrupt)
    assert mark.exists()


def test_children_of_other_threads_are_interrupted_and_waited_for() -> None:
    lines: list[str] = []
    ready = threading.Event()
    codes: list[int] = []

    def on_line(line: str) -> None:
        lines.append(line)
        ready.set()

    thread = threading.Thread(target=lambda: codes.append(run(PATIENT, on_line)))
    thread.start()
    assert ready.wait(10)
    interrupt_children()
    thread.join(10)
    assert (lines, codes) == (["ready", "saved"], [3])


def test_an_interrupt_reaches_the_child_s_own_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    with pytest.raises(Permanent):
        run(code, print, timeout=1)
    assert not Path(f"/proc/{pid.read_text()}").exists() or process_is_dead(
        other(pid=int(pid.read_text()), process_started="")
    )


# --- what outlives a run


def test_what_an_attempt_left_running_is_ended_and_nothing_else() -> None:
    def start(attempt: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, ATTEMPT_VARIABLE: attempt}
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], env=environment)

    ours, theirs = start(f"run-{os.getpid()}-1"), start(f"run-{os.getpid()}-10")
    try:
        time.sleep(0.2)
        assert end_orphans(f"run-{os.getpid()}-1", grace=5) == 1
        assert ours.wait(5) != 0
        assert theirs.poll() is None
        assert end_orphans(f"run-{os.getpid()}-1", grace=5) == 0
    finally:
        for child in (ours, theirs):
            child.kill()
            child.wait()


# --- guarded


def test_a_guard_s_error_ends_the_child_and_is_raised() -> None:
    lines: list[str] = []
    with pytest.raises(Refused, match="Too much"):
        run(PATIENT, lines.append, guard=lambda: Refused("Too much") if lines else None)
    assert lines == ["ready", "saved"]


def test_a_guard_that_has_nothing_to_say_ends_nothing() -> None:
    assert run("import time; time.sleep(1.2)", print, guard=lambda: None) == 0


# A provider catches interrupts and goes on; the Terraform below starts one, and dies of an interrupt or by itself.
PROVIDER = "import signal, time; signal.signal(signal.SIGINT, lambda *_: None); time.sleep(30)"
TERRAFORM = (
    "import os, subprocess, sys, time\n"
    f"subprocess.Popen([sys.executable, '-c', {PROVIDER!r}], env={{**os.environ, 'TF_PLUGIN_MAGIC_COOKIE': 'x'}})\n"
    "time.sleep({lives})\n"
)


@pytest.mark.parametrize("lives", [0, 30], ids=["its Terraform is gone", "its Terraform is interrupted"])
def test_a_provider_that_lost_its_terraform_is_ended(lives: int) -> None:
    attempt = f"run-{os.getpid()}-{lives}"
    environment = {**os.environ, ATTEMPT_VARIABLE: attempt}
    terraform = subprocess.Popen([sys.executable, "-c", TERRAFORM.replace("{lives}", str(lives))], env=environment)
    if not lives:
        terraform.wait(5)
    time.sleep(0.5)
    assert end_orphans(attempt, grace=10) == (2 if lives else 1)
    terraform.wait(5)
    assert end_orphans(attempt, grace=1) == 0
