"""Kills a process, in a process of its own, so that nothing makes it wait:
    crash_killer.py PID SECONDS [commit]
after that time, at once, or, with `commit`, as soon as one of its threads is seen to write or synchronize the store's
file, if that is soon. Prints what it was seen to be in, if anything."""
import os
import platform
import signal
import sys
import time

# fdatasync, fsync, pwrite64: as <asm/unistd.h> numbers them.
CALLS = {"x86_64": {b"75": "fdatasync", b"74": "fsync", b"18": "pwrite64"},
         "aarch64": {b"83": "fdatasync", b"82": "fsync", b"68": "pwrite64"}}.get(platform.machine(), {})
PATIENCE = 1


def seen_in_commit(pid):
    """The call that a thread of `pid` is in, and the file, once there is one."""
    threads = {}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for thread in os.listdir(f"/proc/{pid}/task"):
            if thread in threads:
                continue
            try:
                with open(f"/proc/{pid}/task/{thread}/comm", "rb") as comm:
                    ours = comm.read().startswith(b"Service")
                threads[thread] = os.open(f"/proc/{pid}/task/{thread}/syscall", os.O_RDONLY) if ours else None
            except FileNotFoundError:
                pass
        for _ in range(100):
            for file in threads.values():
                if file is None:
                    continue
                try:
                    words = os.pread(file, 256, 0).split()
                    if len(words) < 2 or words[0] not in CALLS:
                        continue
                    path = os.readlink(f"/proc/{pid}/fd/{int(words[1], 16)}")
                    if "jobs.db" in path:
                        return f"{CALLS[words[0]]} {os.path.basename(path)}"
                except OSError:
                    pass  # the thread has ended, or the file is closed
    return ""


def main():
    pid, seconds = int(sys.argv[1]), float(sys.argv[2])
    time.sleep(seconds)
    seen = seen_in_commit(pid) if sys.argv[3:] == ["commit"] else ""
    os.kill(pid, signal.SIGKILL)
    print(seen)


main()
