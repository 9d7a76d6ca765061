"""Programs that run beside the judges, all on loopback, and end with them."""

import os
import signal
import socket
import subprocess
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(what, seconds, ready):
    """Asks until it is so; the answer."""
    end = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Program:
    """One program, with its log in a file, as a process group of its own."""

    running = []

    def __init__(self, name, work, command, environment):
        self.name, self.log = name, f"{work}/{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, cwd=work, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        Program.running.append(self)

    def ready(self, seconds, question):
        def ask():
            if self.process.poll() is not None:
                with open(self.log) as f:
                    raise SystemExit(f"{self.name} ended by itself:\n{f.read()}")
            return question()
        return eventually(f"{self.name} is ready", seconds, ask)

    def stop(self):
        """Ends it, and whatever it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()

    @classmethod
    def stop_all(cls):
        while cls.running:
            cls.running.pop().stop()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
