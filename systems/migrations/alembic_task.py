# Runs inside the candidate's image: says which revisions the image holds and what Alembic's table says, and migrates
# only where both are exactly as expected. Every judgement is made by whoever reads what is said here.
# It is Python as old as such an image may have.
# ruff: noqa
# mypy: ignore-errors
import hashlib, json, os, shutil, signal, subprocess, sys

try:
    from alembic.config import CommandLine
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
except ImportError:
    # The tool's script names the interpreter that has its package, which need not be the first in PATH.
    script = shutil.which(json.loads(os.environ["POINTSMAN_TASK"])["tool"])
    first = open(script, "rb").readline().decode() if script else ""
    if "python" not in first or "POINTSMAN_AGAIN" in os.environ:
        raise
    os.environ["POINTSMAN_AGAIN"] = "1"
    again = first[2:].split()
    os.execv(again[0], [*again, "-c", sys.orig_argv[-1]])

task = json.loads(os.environ.pop("POINTSMAN_TASK"))
child = None
stopped = False


def stop(number, _frame):
    global stopped
    stopped = True
    if child is None:
        sys.exit(143)
    child.send_signal(number)


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)


def say(**fact):
    print(task["mark"], json.dumps(fact), flush=True)


def say_rows(name, rows):
    # A container's log is cut into pieces of 16 KiB.
    for start in range(0, len(rows) or 1, 20):
        say(**{name: rows[start : start + 20]})


def digest(value):
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Line(CommandLine):
    def run_cmd(self, config, options):
        self.config = config


def content(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def read(config, scripts, name):
    found = []

    def look(heads, context):
        found.extend(context.get_current_heads())
        return []

    # As `alembic current` does: the application's env.py connects, and no table is made.
    with EnvironmentContext(config, scripts, fn=look, dont_mutate=True):
        scripts.run_env()
    rows = [[head, "", True, False] for head in sorted(set(found))]
    say_rows(name, [[*row, None] for row in rows])
    return rows


def main():
    global child
    line = Line(prog="alembic")
    line.main([*task["options"], "current"])
    scripts = ScriptDirectory.from_config(line.config)
    image = sorted([script.revision, content(script.path)] for script in scripts.walk_revisions())
    say_rows("image", image)
    table = read(line.config, scripts, "before")
    known = {revision for revision, _ in image}
    as_expected = digest(image) == task["image"] and digest(table) == task["table"]
    if not as_expected or stopped or not (task["judged"] or all(row[0] in known for row in table)):
        return 0
    say(migrating=True)
    child = subprocess.Popen(task["command"])
    code = child.wait()
    print()  # a tool's last line need not have ended
    read(line.config, scripts, "after")
    return 143 if stopped else 128 if code < 0 else code


try:
    code = main()
except BaseException as error:
    if isinstance(error, SystemExit) and stopped:
        raise
    say(unreadable=("%s: %s" % (type(error).__name__, error))[-1500:])
    code = 1
say(end=code)
sys.exit(code)
