"""A process that ends, or forks, while recordings are written: no thread of ours is inside a native library then."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

UNFINISHED = """
import os, random, sys, time
from pathlib import Path
from voicespan.recording import Recorder
from voicespan.recording.transcoding_thread import TranscodingThread

thread = TranscodingThread()
recorders = [Recorder(Path(sys.argv[1]), name=str(n)) for n in range(12)]
for recorder in recorders:
    thread.add(recorder, "ogg", lambda path: None)
user, agent = os.urandom(8_820), os.urandom(4_800)
end = time.monotonic() + random.Random(int(sys.argv[2])).uniform(0.6, 1.4)
while time.monotonic() < end:
    for recorder in recorders:
        recorder.user(user, 44_100)
        recorder.agent(agent, 24_000)
    time.sleep(0.05)
for recorder in recorders:
    recorder.close()
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_process_ends_in_the_middle_of_its_recordings(tmp_path, seed):
    """Before: 5 of 30 ended with SIGABRT, and nanobind's lines about what it had leaked stood on stderr in each."""
    ended = subprocess.run(
        [sys.executable, "-c", UNFINISHED, str(tmp_path), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


EXIT_HANDLER = """
import atexit, sys
from pathlib import Path
recorder = None
atexit.register(lambda: print(recorder.finish()))  # before anything of ours: so it runs last
from voicespan.recording import Recorder
recorder = Recorder(Path(sys.argv[1]))
recorder.user(bytes(range(250)) * 200, 16_000)
"""


def test_an_exit_handler_may_finish_a_recording(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", EXIT_HANDLER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout.strip() == str(tmp_path / "conversation.flac")


FORKS = """
import os, sys, threading, time
from pathlib import Path
from voicespan.recording import Recorder
from voicespan.recording.transcoding_thread import TranscodingThread

folder, thread, over = Path(sys.argv[1]), TranscodingThread(), False

def calls(number):
    count = 0
    while not over:
        recorder = Recorder(folder, name=f"{number}-{count}")
        thread.add(recorder, "ogg", lambda path: None)
        for _ in range(10):
            recorder.agent(os.urandom(9_600), 24_000)
            recorder.user(os.urandom(3_200), 16_000)
            time.sleep(0.005)
        recorder.finish()
        count += 1

for number in range(4):
    threading.Thread(target=calls, args=(number,), daemon=True).start()
time.sleep(0.5)
children = []
for number in range(40):
    child = os.fork()
    if not child:
        recorder = Recorder(folder, name=f"child-{number}")
        recorder.agent(bytes(range(240)) * 200, 24_000)
        recorder.user(bytes(range(240)) * 200, 16_000)
        os._exit(0 if recorder.finish() is not None and recorder.seconds > 1 else 2)
    children.append(child)
    time.sleep(0.02)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(*sorted(set(codes)), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks on Windows")
def test_a_forked_child_records(tmp_path):
    """Before: about 1 in 100 hung in libsndfile, in a lock that a thread of the parent held."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ended.stdout.split(), ended.stderr) == (["0"], "")
