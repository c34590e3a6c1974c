"""A server that is killed under load, again and again, also as by a power failure: what it has told holds for ever.

Environment, beside that of jobpool_e2e: JOBPOOL_KILLS, how many; JOBPOOL_SEED, for the same kinds of kills and work
once more (when things happen is never the same). Prints what there was to see."""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from jobpool.v1 import job_service_pb2 as js
from crash_disk import lose_writes, store_faults
from crash_load import Caller, History, Lost, Refused, tag_of
from jobpool_e2e import BIN, PATIENCE, SLOW, Client, E2eTest, Server, library_to_preload, noop_job

KILLS = int(os.environ.get("JOBPOOL_KILLS") or (25 if SLOW == 1 else 6))
SEED = int(os.environ.get("JOBPOOL_SEED") or random.SystemRandom().randrange(10**6))
CALLERS = 6
POWER_SHARE, START_SHARE, COMMIT_SHARE = 0.4, 0.12, 0.5
LONGEST_LOAD = 0.7 * SLOW
CONFIG = 'pools { name: "line" max_threads: 1 }'
KILLER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crash_killer.py")


def plan(rng):
    """For each kill: at which moment, and whether the power fails with it."""
    moments = ["start"] * round(KILLS * START_SHARE) + ["commit"] * round(KILLS * COMMIT_SHARE)
    moments += ["any"] * (KILLS - len(moments))
    rng.shuffle(moments)
    power = [i < round(KILLS * POWER_SHARE) for i in range(KILLS)]
    rng.shuffle(power)
    return list(zip(moments, power))


class Crash(E2eTest):
    def setUp(self):
        # Not /tmp, which may be memory: there nothing is synchronized.
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="jobpool-crash-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.state = os.path.join(self.folder, "state")
        os.mkdir(self.state)
        self.journal = os.path.join(self.folder, "journal")
        self.flags = [self.config_flag(CONFIG), "--store=sqlite", f"--state_dir={self.state}"]
        self.rng = random.Random(SEED)
        self.history = History()
        self.callers = [Caller(i, random.Random(self.rng.random()), self.history) for i in range(CALLERS)]
        self.processes = {}  # the generation that each has served
        self.server_now = None
        self.seen = {}
        self.lost_changes = 0
        self.preload = library_to_preload("lost_writes", self.folder)
        self.addCleanup(lambda: self.server_now and self.server_now.process.kill())

    def environment(self, power):
        if not power:
            return {}
        return {"LD_PRELOAD": self.preload, "LOST_WRITES_DIR": self.state, "LOST_WRITES_JOURNAL": self.journal}

    def holds(self, when):
        faults = self.history.faults
        if faults:
            self.fail(f"seed {SEED}, {when}: {len(faults)} faults; the first are:\n" + "\n".join(faults[:5]))

    def start(self, power):
        try:
            self.server_now = Server(*self.flags, env=self.environment(power))
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}, generation {self.history.generation}: {error}") from None
        self.serves(self.server_now.pid)
        return self.server_now

    def serves(self, process):
        """What it does not find, but is given, comes with the next generation."""
        # An id that comes again after many others says nothing any more.
        self.processes[process] = None if process in self.processes else self.history.generation + 1

    def kill_at_start(self, power):
        """While it opens its store, or goes on with the jobs there."""
        process = subprocess.Popen(
            [f"{BIN}/jobpoold", "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0", *self.flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **self.environment(power)})
        self.serves(process.pid)
        time.sleep(self.rng.random() * 0.12 * SLOW)
        process.kill()
        process.wait()

    def listed(self, client):
        """The jobs that are there, by their tags."""
        jobs, request = {}, js.ListJobsRequest(page_size=1000)
        known = {name for caller in self.callers for name in caller.jobs}
        lost = {tag_of(r.job) for caller in self.callers for requests in caller.lost for r in requests}
        while True:
            answer = client.jobs.ListJobs(request, timeout=PATIENCE)
            for job in answer.jobs:
                jobs.setdefault(tag_of(job), []).append(job)
                if job.name not in known and tag_of(job) not in lost:
                    self.history.fault(f"nobody has asked for, or somebody has deleted,\n{job}")
            if not answer.next_page_token:
                return jobs
            request.page_token = answer.next_page_token

    def check(self, server):
        client = Client(server.grpc)
        try:
            listed = self.listed(client)
            for caller in self.callers:
                caller.check(client, listed)
        except (Lost, Refused) as error:
            self.history.fault(f"{type(error).__name__}: {error}")
        finally:
            client.close()

    def load_and_kill(self, server, moment):
        clients = [Client(server.grpc) for _ in self.callers]
        killer = subprocess.Popen([sys.executable, "-S", "-E", KILLER, str(server.pid),
                                   str(self.rng.random() * LONGEST_LOAD), *(["commit"] if moment == "commit" else [])],
                                  stdout=subprocess.PIPE, text=True)
        threads = [threading.Thread(target=caller.work, args=(client,))
                   for caller, client in zip(self.callers, clients)]
        for thread in threads:
            thread.start()
        seen = killer.communicate()[0].strip()
        server.killed()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
        if seen:
            self.seen[seen] = self.seen.get(seen, 0) + 1

    def check_order(self):
        """What was queued when a server was killed has started in the old order, and before what came later."""
        compared = 0
        for process, starts in self.history.starts.items():
            generation = self.processes[process]
            if generation is None:
                continue
            last = {}  # by priority
            for _, priority, number, made_in, name in sorted(starts):
                before, name_before = last.get(priority, (0, ""))
                if made_in < generation:
                    compared += 1
                    if number < before:
                        self.history.fault(f"{name} (Job-{number}) has started after {name_before} (Job-{before})")
                if number > before:
                    last[priority] = (number, name)
        return compared

    def test_power_failures_while_the_file_is_made(self):
        lost_changes = 0
        for _ in range(max(2, KILLS // 5)):
            self.kill_at_start(power=True)
            lost_changes += lose_writes(self.state, self.journal, self.rng)
            self.assertEqual(store_faults(os.path.join(self.state, "jobs.db")), [], f"seed {SEED}")
            server = self.start(power=False)
            client = Client(server.grpc)
            name = client.run(noop_job()).name
            self.assertEqual([job.name for job in client.jobs.ListJobs(js.ListJobsRequest()).jobs], [name])
            client.close()
            server.process.kill()
            server.killed()
            shutil.rmtree(self.state)
            os.mkdir(self.state)
        print(f"\npower failures while the file is made took {lost_changes} changes, seed {SEED}")

    def test_what_was_told_holds(self):
        begun, kills = time.monotonic(), plan(self.rng)
        for moment, power in kills:
            if moment == "start":
                self.kill_at_start(power)
            else:
                server = self.start(power)
                self.check(server)
                self.holds("after a restart")
                self.history.generation += 1
                self.load_and_kill(server, moment)
                self.assertEqual(os.path.exists(self.journal), power)
                self.holds("under load")
            if power:
                self.lost_changes += lose_writes(self.state, self.journal, self.rng)
            for fault in store_faults(os.path.join(self.state, "jobs.db")):
                self.history.fault(f"the file after a kill at {moment}, power={power}: {fault}")
            self.holds("in the file")

        server = self.start(power=False)
        self.check(server)
        client = Client(server.grpc)
        for caller in self.callers:
            caller.end_all(client)
        client.close()
        self.holds("at the end")
        server.finish()
        server = self.start(power=False)
        self.check(server)
        server.finish()
        compared = self.check_order()
        self.holds("after the end")

        history = self.history
        print(f"\n{KILLS} kills in {time.monotonic() - begun:.0f} s, seed {SEED}: "
              f"{sum(power for _, power in kills)} power failures, which took {self.lost_changes} changes; "
              f"{sum(moment == 'start' for moment, _ in kills)} at the start; "
              f"{sum(self.seen.values())} inside a commit {self.seen}\n"
              f"{history.acknowledged} jobs acknowledged, {history.lost} calls without answer, "
              f"{history.ends} ends told, {history.updates} updates, {history.deletes} deletions, "
              f"{history.resent} requests sent again, {compared} starts in order; "
              f"Job-N used again after MEMORY jobs: {history.repeated_memory_numbers}; "
              f"running jobs that were asked to end and run again: {history.forgotten_cancels}")
        if KILLS >= 25:
            self.assertGreater(sum(self.seen.values()), 0)
            self.assertGreater(compared, 0)


if __name__ == "__main__":
    import unittest
    unittest.main()
