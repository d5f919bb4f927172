"""Java programs that read lines and answer each with a line. None outlives this process, and none is waited for when it
has been silent for too long."""

from __future__ import annotations

import atexit
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from apo_lightning.errors import ConfigError

SILENCE = 180.0
"""Seconds that a program may be silent, of which its start takes about 10 on a slow machine."""
INSTEAD = "The answers are kept. Run again, or take evaluate.report_text.backend=python, which needs no Java."


def lacks_java() -> str:
    """What is wrong with the Java of this machine; empty if it runs. (macOS has a ``java`` that only says where to get
    one.)"""
    if (java := shutil.which("java")) is None:
        return "no java is on the PATH"
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{java} does not run ({type(error).__name__})"
    return "" if done.returncode == 0 else f"{java} does not run ({_last_line(done.stderr)})"


def run_once(arguments: Sequence[str], lines: Sequence[str], folder: Path) -> list[str]:
    """The lines that a program prints for ``lines``.

    Raises:
        ConfigError: it failed, was silent, or printed another number of lines.
    """
    command, end = ["java", *arguments], "end"
    try:
        done = subprocess.run(command, input=_bytes([*lines, end]), capture_output=True, cwd=folder, timeout=SILENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise failed(command, type(error).__name__) from error
    *found, last = done.stdout.decode("utf-8", "replace").removesuffix("\n").split("\n")
    if done.returncode or len(found) != len(lines) or last.strip() != end:
        raise failed(command, _last_line(done.stderr.decode("utf-8", "replace")))
    return found


class LineServer:
    """A program that stays for further questions, because its start is most of what it takes.

    Lines are written and read by threads of their own, so that neither side waits for the other's full pipe; what it
    complains of goes to a file for the same reason.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, silence: float = SILENCE) -> None:
        self.command, self.folder, self.silence = ["java", *arguments], folder, silence
        self.process: subprocess.Popen[bytes] | None = None
        self.one_at_a_time = threading.Lock()
        atexit.register(self.close)

    def ask(self, lines: Sequence[str]) -> list[str]:
        """One answer per line.

        Raises:
            ConfigError: the program ended, or was silent for too long; the next question starts it anew.
        """
        with self.one_at_a_time:
            process = self.process if self.process and self.process.poll() is None else self._start()
            threading.Thread(target=_write, args=(process, _bytes(lines)), daemon=True).start()
            found = []
            for _ in lines:
                try:
                    answer = self.answers.get(timeout=self.silence)
                except queue.Empty:
                    answer = None
                if answer is None:
                    raise self._broken()
                found.append(answer)
            return found

    def _start(self) -> subprocess.Popen[bytes]:
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the program)
        self.answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(
                self.command, stdin=pipe, stdout=pipe, stderr=self.complaints, cwd=self.folder
            )
        except OSError as error:
            raise failed(self.command, str(error.strerror)) from error
        threading.Thread(target=_read, args=(self.process, self.answers), daemon=True).start()
        return self.process

    def _broken(self) -> ConfigError:
        silent = self.process is not None and self.process.poll() is None
        self.close()
        self.complaints.seek(0)
        told = _last_line(self.complaints.read().decode("utf-8", "replace"))
        return failed(self.command, f"silent for {self.silence:g} s" if silent else told)

    def close(self) -> None:
        """End the program, whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _write(process: subprocess.Popen[bytes], text: bytes) -> None:
    try:
        process.stdin.write(text)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    except (OSError, ValueError):  # it has ended; whoever waits for its answers hears that
        pass


def _read(process: subprocess.Popen[bytes], answers: queue.SimpleQueue[str | None]) -> None:
    for line in process.stdout or ():
        answers.put(line.decode("utf-8", "replace").strip())
    process.wait()
    answers.put(None)


def one_line(text: str) -> str:
    """With one blank for each run of blanks and line breaks, of which Java and its tokenizers know many kinds."""
    return " ".join(text.split())


def _bytes(lines: Sequence[str]) -> bytes:
    """Half a character, as a cut-off answer may hold, becomes a question mark."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def failed(command: Sequence[str], why: str) -> ConfigError:
    """What the user is told of a program that did not answer."""
    return ConfigError(
        f"evaluate.report_text.backend is coco, and its program failed ({' '.join(command[:4])}: {why}). {INSTEAD}"
    )
