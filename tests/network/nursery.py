"""Real processes that start at once: one loads the package, and forks for each program that is asked for.

Not on Windows. A child ends with the tests, whatever ends them: the pipe that is its standard input is then cut.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import EntryPoint


class Nursery:
    """`launch` is for `here.on_this_machine`; `hooks` has Python text by name, run in a child before it begins.

    `programs` are others by name, each a function ("module:function") that is loaded once, for `program`; `inside` is
    a command that runs the nursery as its own, such as ("unshare", "-n").
    """

    def __init__(self, programs=(), *, environment=None, inside=()):
        self.hooks, self._lock = {}, threading.Lock()
        life, self._life = os.pipe()
        about = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[life])
        about |= dict(env=dict(environment or os.environ, OMP_NUM_THREADS="1"))
        command = [*inside, sys.executable, __file__, str(life), json.dumps(dict(programs))]
        self._process = subprocess.Popen(command, **about)
        os.close(life)

    def ask(self, **request):
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def launch(self, arguments, folder, output):
        hook = self.hooks.pop(folder.name, "")
        return self.child(arguments=arguments, folder=str(folder), output=str(output), hook=hook)

    def child(self, **request):
        return Child(self, self.ask(**request))

    def program(self, name, arguments, folder, output, hook=""):
        """One of `programs`, as it would run under that name with these arguments."""
        about = dict(arguments=[str(a) for a in arguments], folder=str(folder), output=str(output), hook=hook)
        return self.child(program=name, **about)

    def end(self):
        os.close(self._life)
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Child:
    """What `subprocess.Popen` would be."""

    stdin = None

    def __init__(self, nursery, pid):
        self.nursery, self.pid, self.code = nursery, pid, None

    def poll(self):
        if self.code is None:
            self.code = self.nursery.ask(ended=self.pid)
        return self.code

    def wait(self, timeout=60.0):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("a child of the nursery", timeout)
            time.sleep(0.02)
        return self.code

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def child(life, request, programs):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(life, 0)
    out = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(request["folder"])
    from fedlab_utils.network import command

    exec(request["hook"], {})
    if "program" not in request:
        return command.main(request["arguments"])
    threading.Thread(target=command._end_with_parent, daemon=True).start()
    sys.argv = [request["program"], *request["arguments"]]
    try:
        return programs[request["program"]]() or 0
    except SystemExit as said:
        return said.code if isinstance(said.code, int) else bool(said.code)


def main(life, programs):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from fedlab_utils.network import book, command, coordinator, dial, hospital, masked, rows  # noqa: F401

    loaded = {name: EntryPoint(name, place, "").load() for name, place in programs.items()}
    codes = {}
    for line in sys.stdin:
        request, answer = json.loads(line), None
        if "ended" in request:
            asked = request["ended"]
            if asked not in codes and (found := os.waitpid(asked, os.WNOHANG))[0]:
                codes[asked] = os.waitstatus_to_exitcode(found[1])
            answer = codes.get(asked)
        else:
            answer = os.fork()
            if not answer:
                code = 70
                try:
                    code = child(life, request, loaded)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
